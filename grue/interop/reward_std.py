"""Reward functions of TRL's trainers that log how rewards deviate within each prompt.

TRL's own ``reward_std`` is the std of all rewards of a batch. It is large where prompts differ in
their rewards, also if no reward deviates within any prompt and so no gradient is left.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grue.rl.reward_stats import reward_std, zero_std

Rewards = Sequence[float | None]
"""Reward of each completion; None where the function does not apply."""
RewardFunction = Callable[..., Rewards | Awaitable[Rewards]]
"""Reward function as TRL calls it: ``function(prompts=..., completions=..., **columns)``."""
Floats = NDArray[np.float64]


def with_reward_std(
    reward_fn: RewardFunction,
    *,
    num_generations: int | None = None,
    zero_tol: float | None = None,
    name: str | None = None,
) -> RewardFunction:
    """Return the reward function, which logs the deviation of its rewards within prompts, too.

    The metrics are ``reward_std/<name>/`` and ``per_input_mean``, ``per_input_rms``,
    ``between_inputs`` and ``frac_zero``, as in this project's runs (ddof 1). They are those of the
    completions that a process scores at once; the trainer logs their means.

    Args:
        reward_fn: function that TRL's `GRPOTrainer` or `RLOOTrainer` takes, also an async one.
        num_generations: number of completions of each prompt, as in the trainer's settings. None
            to take neighbouring completions of equal prompts for those of one prompt.
        zero_tol: difference up to which rewards are equal, see `grue.rl.reward_stats.zero_std`.
        name: name in the metrics; None for the function's own.
    """
    called = name or str(getattr(reward_fn, "__name__", type(reward_fn).__name__))

    def logged(rewards: Rewards, columns: dict[str, Any]) -> Rewards:
        log_metric = columns.get("log_metric")
        if log_metric is not None:
            groups = list(_groups(rewards, columns["prompts"], num_generations))
            for metric, value in deviation(groups, zero_tol).items():
                log_metric(f"reward_std/{called}/{metric}", value)
        return rewards

    if inspect.iscoroutinefunction(reward_fn) or inspect.iscoroutinefunction(
        getattr(reward_fn, "__call__", None)  # noqa: B004  whether the call itself is a coroutine
    ):

        async def of_coroutine(**columns: Any) -> Rewards:
            return logged(await reward_fn(**columns), columns)  # type: ignore[misc]

        wrapped: RewardFunction = of_coroutine
    else:

        def of_function(**columns: Any) -> Rewards:
            return logged(reward_fn(**columns), columns)  # type: ignore[arg-type]

        wrapped = of_function
    functools.update_wrapper(wrapped, reward_fn)
    wrapped.__name__ = called  # trainers name their own metrics after it
    return wrapped


def deviation(groups: Sequence[Floats], zero_tol: float | None = None) -> dict[str, float]:
    """Return how rewards deviate within and between groups, by metric.

    Groups of fewer than two rewards have no std, and count for none of the metrics.

    Args:
        groups: rewards of each prompt.
        zero_tol: see `grue.rl.reward_stats.zero_std`.
    """
    known = [group[None] for group in groups if len(group) > 1]
    if not known:
        return {}
    stds = np.array([reward_std(group, ddof=1)[0] for group in known])
    means = np.array([group.mean() for group in known])
    found = {
        "per_input_mean": stds.mean(),
        "per_input_rms": np.sqrt(np.square(stds).mean()),
        "frac_zero": np.mean([zero_std(group, zero_tol)[0] for group in known]),
    }
    if len(known) > 1:
        found["between_inputs"] = reward_std(means[None], ddof=1)[0]
    return {metric: float(value) for metric, value in found.items()}


def _groups(
    rewards: Rewards, prompts: Sequence[Any], num_generations: int | None
) -> Iterator[Floats]:
    """Yield the rewards of each prompt; those of completions without one are left out."""
    known = np.array([np.nan if reward is None else float(reward) for reward in rewards])
    for rows in _rows_of_groups(prompts, num_generations):
        of_group = known[rows]
        yield of_group[~np.isnan(of_group)]


def _rows_of_groups(prompts: Sequence[Any], num_generations: int | None) -> Iterator[slice]:
    """Yield the rows of each prompt's completions."""
    if num_generations is not None:
        for start in range(0, len(prompts), num_generations):
            yield slice(start, start + num_generations)
        return
    start = 0
    for _, of_prompt in groupby(prompts):
        end = start + len(list(of_prompt))
        yield slice(start, end)
        start = end
