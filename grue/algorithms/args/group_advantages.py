"""Settings of advantages from groups, and of groups whose rewards do not deviate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from common.config.base import LATER
from common.config.fit import NonNegativeFloat, PositiveInt
from common.errors import Problem
from grue.algorithms.args.fields import Fraction
from grue.algorithms.config import AlgorithmArgs
from grue.rl.tolerance import TOLERANCE

Baseline = Literal["group", "leave_one_out", "running_mean", "cumulative_mean", "none"]
Scale = Literal["none", "group_std", "batch_std", "group_mean", "unit"]
ZeroStdGroups = Literal["keep", "drop", "resample", "virtual_best"]

_GROUP_BASELINES = ("group", "leave_one_out")
_OF_GROUPS = ("group_std", "batch_std", "group_mean")


class GroupAdvantageArgs(AlgorithmArgs):
    """Advantages of outputs among those of their input, the group."""

    num_samples_per_input: PositiveInt = 8
    """Number of outputs, K, of each input, its group; ``env.n_envs`` is the number of inputs."""
    advantage: Baseline = "group"
    """Advantage of an output: its reward minus the mean of its group, the outputs of its input
    (``group``); minus the mean of the group's other outputs (``leave_one_out``); minus the
    exponential mean of earlier rollouts' rewards (``running_mean``), or the mean of all earlier
    outputs' (``cumulative_mean``); or the rewards from each token on, with their penalties
    (``none``)."""
    running_mean_decay: Annotated[Fraction, LATER] = 0.9
    """Decay of ``running_mean`` per rollout."""
    advantage_scale: Scale = "none"
    """Divisor of advantages: none; the std of the group's rewards, less one degree of freedom, plus
    1e-4 (``group_std``); the std of all centred rewards (``batch_std``, arXiv 2510.13786); the mean
    reward of the group, for rewards from 0 up (``group_mean``, arXiv 2602.02710); or the whole
    rollout's advantages get mean 0 and std 1 over tokens (``unit``). Penalties in the reward are
    divided by ``unit`` alone."""
    zero_std_groups: ZeroStdGroups = "keep"
    """Treatment of groups whose task rewards do not deviate: they stay, with a task part of exactly
    0 in the advantages of ``group`` and ``leave_one_out``, and with their penalties (``keep``); or
    they are left out of the update, with their KL and entropy losses, which saves their passes
    (``drop``); or batches of other inputs are drawn until ``env.n_envs`` groups deviate, by the
    rewards alone, and if they never do, silent ones fill up the rest (``resample``); or mean and
    std of every group are taken with one imagined reward, ``best_reward``, so that groups of equal
    lower rewards are pushed down (``virtual_best``, NGRPO, arXiv 2509.18851, published with
    ``clip_range`` 0.16 and ``clip_range_high`` 0.24)."""
    best_reward: float = 1.0
    """Largest possible reward, for ``virtual_best``."""
    max_resamples: PositiveInt = 10
    """Largest number of further batches that ``resample`` draws in an iteration."""
    count_dropped: bool = True
    """If true, dropped groups count in the denominators of ``aggregate``, so that the others weigh
    as much as with ``keep``."""
    zero_tol: NonNegativeFloat = TOLERANCE
    """Largest difference of rewards of a group that count as equal, as a share of the group's
    largest \\|reward\\|."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of groups of one, and of scales without groups."""
        yield from super().problems()
        of_groups = self.advantage in _GROUP_BASELINES
        if not of_groups and self.advantage_scale in _OF_GROUPS:
            yield Problem("is of rewards minus a group's mean; give 'advantage' = 'group', or "
                          "'unit' here", "advantage_scale", self.advantage_scale)  # fmt: skip
        if of_groups and self.num_samples_per_input < 2:
            yield Problem(f"'advantage' = '{self.advantage}' needs at least 2, since a group of "
                          "one has no deviation; raise it, or give 'advantage' = 'none'",
                          "num_samples_per_input", self.num_samples_per_input)  # fmt: skip
        if self.zero_std_groups in ("drop", "resample") and self.num_samples_per_input < 2:
            yield Problem("leaves out every group of one; raise 'num_samples_per_input'",
                          "zero_std_groups", self.zero_std_groups)  # fmt: skip
        parts = (self.advantage, self.advantage_scale)
        if self.zero_std_groups == "virtual_best" and parts != ("group", "group_std"):
            yield Problem("has a mean and a std of the group; give 'advantage' = 'group' and "
                          "'advantage_scale' = 'group_std'", "zero_std_groups",
                          self.zero_std_groups)  # fmt: skip
