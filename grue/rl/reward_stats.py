"""Reward statistics: exact means and standard deviations of K sampled rewards of each of N inputs.

Everything is a function of an array [N, K]. The std of fewer than two numbers is undefined,
whatever ``ddof``: NaN in arrays and tables, None in summaries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.training.shape_checks import check_axes
from grue.rl.pass_at_k import is_right_or_wrong, mean_pass_at_k
from grue.rl.tolerance import TOLERANCE

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


def tables(
    ids: Sequence[str],
    rewards: Mapping[str, ArrayLike],
    *,
    ddof: int,
    zero_tol: float | None,
    low_std: float,
    group_sizes: Sequence[int],
    groups: Mapping[str, NDArray[np.int64]] | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the statistics of each input as one row per metric, and of all inputs.

    Args:
        ids: [N] the inputs.
        rewards: by metric, [N, K] scores.
        ddof: squared deviations are divided by their number minus this.
        zero_tol: see `zero_std`.
        low_std: std below which an input counts as low, in units of the reward.
        group_sizes: see `summary`.
        groups: positions of some inputs by name, each with statistics of its own; None for none.

    Raises:
        ValueError: a metric's array is not [N, K], or holds a number that is not finite.
    """
    import pandas as pd

    parts = []
    arrays = {metric: _checked(values, metric, len(ids)) for metric, values in rewards.items()}
    for metric, array in arrays.items():
        columns = per_input(array, ddof=ddof, zero_tol=zero_tol)
        parts.append(pd.DataFrame({"input_id": list(ids), "metric": metric, **columns}))

    keys: dict[str, Any] = {"ddof": ddof, "zero_tol": zero_tol, "low_std": low_std}

    def summaries(rows: slice | NDArray[np.int64]) -> dict[str, Any]:
        return {
            metric: summary(array[rows], **keys, group_sizes=group_sizes)
            for metric, array in arrays.items()
        }

    found = {**keys, "metrics": summaries(slice(None))}
    if groups is not None:
        found["groups"] = {name: summaries(rows) for name, rows in groups.items()}
    return pd.concat(parts, ignore_index=True), found


def per_input(rewards: Floats, *, ddof: int, zero_tol: float | None) -> dict[str, NDArray[Any]]:
    """Return [N] statistics by name: n (samples), mean, std, min, max, num_distinct, zero_std."""
    check_axes("rewards", rewards, "NK")
    ordered = np.sort(rewards, axis=1)
    return {
        "n": np.full(len(rewards), rewards.shape[1]),
        "mean": _mean(rewards),
        "std": reward_std(rewards, ddof),
        "min": ordered[:, 0],
        "max": ordered[:, -1],
        "num_distinct": 1 + (np.diff(ordered, axis=1) > 0).sum(1),
        "zero_std": zero_std(rewards, zero_tol),
    }


def summary(
    rewards: Floats,
    *,
    ddof: int,
    zero_tol: float | None,
    low_std: float,
    group_sizes: Sequence[int],
) -> dict[str, Any]:
    """Return statistics over all inputs, by name; None where a std is undefined.

    ``per_input_mean`` and ``per_input_rms`` are the mean and the root mean square of the inputs'
    stds; with ddof 1 the first is biased low, and the square of the second is not biased.
    ``between_inputs`` is the std of the inputs' means, ``batch`` that of all N K rewards. With
    ddof 0, batch^2 = per_input_rms^2 + between_inputs^2. ``frac_zero`` and ``frac_low`` are shares
    of inputs: with no deviation, and with a std below ``low_std``.

    ``frac_zero_by_group_size`` estimates without bias which share of inputs would show no deviation
    with each of ``group_sizes`` samples instead of K; sizes above K are left out.

    ``pass_at_k`` is the mean of `pass_at_k` for one sample, each of ``group_sizes`` and K; only
    rewards that are all 0 or 1 have it.
    """
    check_axes("rewards", rewards, "NK")
    num_inputs, num_samples = rewards.shape
    std = reward_std(rewards, ddof)
    by_size = {
        str(size): float(prob_zero_std(rewards, size, zero_tol).mean())
        for size in group_sizes
        if size <= num_samples
    }
    found = {
        "reward_std/per_input_mean": std.mean(),
        "reward_std/per_input_rms": np.sqrt(np.square(std).mean()),
        "reward_std/between_inputs": reward_std(_mean(rewards)[None], ddof)[0],
        "reward_std/batch": reward_std(rewards.reshape(1, -1), ddof)[0],
        "reward_std/frac_zero": zero_std(rewards, zero_tol).mean() if num_samples > 1 else np.nan,
        "reward_std/frac_low": (std < low_std).mean() if num_samples > 1 else np.nan,
    }
    of_right = _pass_at(rewards, {1, *group_sizes, num_samples})
    return {
        "num_inputs": num_inputs,
        "num_samples_per_input": num_samples,
        "mean": float(rewards.mean()),
        **{name: float(value) if np.isfinite(value) else None for name, value in found.items()},
        "reward_std/frac_zero_by_group_size": by_size,
        **({"pass_at_k": of_right} if of_right else {}),
    }


def _pass_at(rewards: Floats, sizes: Iterable[int]) -> dict[str, float]:
    """Return the mean `pass_at_k` by the sizes up to K; nothing for other rewards than 0 and 1."""
    if not is_right_or_wrong(rewards):
        return {}
    return {str(k): share for k, share in mean_pass_at_k(rewards, sizes).items()}


def reward_std(rewards: Floats, ddof: int) -> Floats:
    """Return [N] the std of each row of [N, K]; NaN where K is 1.

    Rewards that are equal up to rounding give exactly 0. Deviations are taken from the smallest
    reward first, because the floating-point mean of equal numbers may differ from them.
    """
    check_axes("rewards", rewards, "NK")
    if rewards.shape[1] < 2:
        return np.full(len(rewards), np.nan)
    std: Floats = (rewards - rewards.min(1, keepdims=True)).std(1, ddof=ddof)
    return np.where(zero_std(rewards, None), 0.0, std)


def zero_std(rewards: Floats, tol: float | None) -> NDArray[np.bool_]:
    """Return [N] whether the largest and the smallest reward of an input differ by at most ``tol``.

    If ``tol`` is None, it is `TOLERANCE` times the input's largest |reward|. The std is not
    compared, because it carries rounding errors. With one sample the deviation is unknown, and the
    result is false.
    """
    check_axes("rewards", rewards, "NK")
    found: NDArray[np.bool_] = np.ptp(rewards, axis=1) <= tolerances(rewards, tol)[:, 0]
    return found if rewards.shape[1] > 1 else np.zeros_like(found)


def prob_zero_std(rewards: Floats, group_size: int, tol: float | None) -> Floats:
    """Return [N] the unbiased estimate of P(a group of G new samples passes `zero_std`).

    It is the share of the groups of G among the K samples that pass. With ``tol`` 0 and counts c of
    equal values it is sum(comb(c, G)) / comb(K, G). In general, each group is counted at its
    smallest reward: the G - 1 others are chosen from the m larger rewards within ``tol``, in
    comb(m, G - 1) ways.

    Args:
        rewards: [N, K].
        group_size: G, from 2 to K.
        tol: see `zero_std`.
    """
    check_axes("rewards", rewards, "NK")
    num_samples = rewards.shape[1]
    ordered = np.sort(rewards, axis=1)
    near_by = tolerances(rewards, tol)
    others = np.zeros(rewards.shape, dtype=np.int64)  # m; of equal rewards, the later are larger
    for distance in range(1, num_samples):
        near = ordered[:, distance:] - ordered[:, :-distance] <= near_by
        if not near.any():
            break
        others[:, :-distance] += near
    all_groups = math.comb(num_samples, group_size)
    of_smallest = [math.comb(m, group_size - 1) for m in range(num_samples)]
    rows, places = np.unique(others, axis=0, return_inverse=True)
    # Whole numbers to the end, so that a share is rounded once: all groups are exactly 1.
    shares = [sum(of_smallest[m] for m in row) / all_groups for row in rows.tolist()]
    found: Floats = np.array(shares)[places.ravel()]
    return found


def tolerances(rewards: Floats, tol: float | None) -> Floats:
    """Return [N, 1] the largest difference between rewards of an input that count as equal."""
    if tol is not None:
        return np.full((len(rewards), 1), tol)
    largest: Floats = np.abs(rewards).max(1, keepdims=True)
    return TOLERANCE * largest


def _mean(rewards: Floats) -> Floats:
    """Return [N] the mean of each row; for equal rewards, the reward itself."""
    lowest = rewards.min(1, keepdims=True)
    mean: Floats = lowest[:, 0] + (rewards - lowest).mean(1)
    return mean


def _checked(values: ArrayLike, metric: str, num_inputs: int) -> Floats:
    rewards = np.asarray(values, dtype=np.float64)
    if rewards.ndim != 2 or len(rewards) != num_inputs or rewards.size == 0:
        raise ValueError(f"'{metric}': rewards {rewards.shape} are not [{num_inputs}, K]")
    wrong = np.argwhere(~np.isfinite(rewards))
    if len(wrong):
        row, sample = wrong[0].tolist()
        raise ValueError(
            f"'{metric}' is {rewards[row, sample]} for input {row}, sample {sample} (of "
            f"{len(wrong)} such); every reward must be a finite number"
        )
    return rewards
