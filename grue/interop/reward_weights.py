"""Weights with which a trainer has added up its rewards: read, given, or taken as equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from common.errors import UserError
from grue.interop.dumps import ADVANTAGE, Logged
from grue.interop.trl_run import ARGUMENTS, TrlRun

_TOLERANCE = 0.02
"""Largest share of a group's advantages that weights may leave unexplained."""
_SMALLEST = 1e-6
"""Spread below which advantages, or sums of rewards, count as equal."""
_FEW = 0.05
"""Share of groups that may contradict the weights, such as a prompt that is in a step twice."""


@dataclass(frozen=True)
class Weights:
    """Weights of the rewards that are added up."""

    by_name: Mapping[str, float]
    sentences: Sequence[str] = field(default_factory=list)
    """Where they are from, and what is left out; nothing for a single reward that counts once."""


def weights_of(
    logged: Logged, run: TrlRun | None = None, given: Sequence[float] | None = None
) -> Weights:
    """Return the weights of a trainer's rewards: those that are given, else those of the run.

    Where neither is there they are taken as equal, unless the logged advantages contradict that.

    Raises:
        UserError: another number of weights is given than there are rewards; or the weights are not
            known, and the advantages are not those of equal ones.
    """
    names = logged.rewards
    if given is not None:
        if len(given) != len(names):
            raise UserError(f"--reward_weights: {len(given)} given for {len(names)} rewards "
                            f"({', '.join(names)}); give one for each")  # fmt: skip
        by_name = dict(zip(names, given, strict=True))
        return Weights(by_name, [f"Rewards are added up with the weights that are given: "
                                 f"{_listed(by_name)}."])  # fmt: skip
    read = None if run is None else run.weights(logged.every)
    if run is not None and read is not None and set(names) <= read.keys():
        return _as_read(logged, run, read)
    if len(names) == 1:
        return Weights({names[0]: 1.0})
    return _as_equal(logged, run)


def _as_read(logged: Logged, run: TrlRun, read: Mapping[str, float]) -> Weights:
    names = logged.rewards
    by_name = {name: read[name] for name in names}
    left_out = {name: read[name] for name in read if name not in names}
    if by_name == {names[0]: 1.0} and not left_out:
        return Weights(by_name)
    told = [f"Rewards are added up with the weights in {run.read}: {_listed(by_name)}."]
    if left_out:
        told.append(f"The run was trained on these too, which are left out: {_listed(left_out)}.")
    if run.normalizes_each and len(read) > 1:
        told.append(
            "The run normalised each reward within its groups before it added them up "
            "(multi_objective_aggregation = 'normalize_then_sum'); here they are added up as they "
            "are."
        )
    elif not left_out and (contradicting := _contradicting(logged, by_name)):
        told.append(
            f"The advantages of {contradicting:.0%} of the groups do not follow from these weights."
        )
    return Weights(by_name, told)


def _as_equal(logged: Logged, run: TrlRun | None) -> Weights:
    by_name = dict.fromkeys(logged.rewards, 1.0)
    why = "the files do not tell their weights"
    if run is not None:
        why = f"{run.folder} has no {ARGUMENTS} that tells their weights"
    told = f"Rewards are added up with equal weights ({', '.join(by_name)}), for {why}"
    share = _contradicting(logged, by_name) if len(by_name) == len(logged.every) else None
    if share is None:
        return Weights(by_name, [f"{told}; --reward_weights gives others."])
    if share > _FEW:
        raise UserError(
            f"--rewards {' '.join(by_name)}: {why}, and the logged advantages of {share:.0%} of "
            "the groups do not follow from equal ones; give them with --reward_weights"
        )
    return Weights(by_name, [f"{told}; the logged advantages agree with that."])


def _contradicting(logged: Logged, by_name: Mapping[str, float]) -> float | None:
    """Return the share of groups whose advantages are not proportional to their centred sums.

    Only groups with a deviation count; None if there are none, or no advantages.
    """
    import pandas as pd

    samples = logged.samples
    if ADVANTAGE not in samples:
        return None
    shape = samples["index"].nunique(), -1
    given = pd.to_numeric(samples[ADVANTAGE], errors="coerce").to_numpy(np.float64)
    rewards = samples[[*by_name]].to_numpy(np.float64) @ np.array([*by_name.values()])
    totals, advantages = rewards.reshape(shape), given.reshape(shape)
    totals = totals - totals.mean(axis=1, keepdims=True)
    advantages = advantages - advantages.mean(axis=1, keepdims=True)
    spread = np.abs(np.stack([totals, advantages])).max(axis=(0, 2))  # NaN of unknown advantages
    deviate = spread > _SMALLEST
    if not deviate.any():
        return None
    totals, advantages = totals[deviate], advantages[deviate]
    squares = np.square(totals).sum(axis=1)
    slopes = (totals * advantages).sum(axis=1) / np.where(squares > 0, squares, 1.0)
    rest = advantages - slopes[:, None] * totals
    explained = np.linalg.norm(rest, axis=1) <= _TOLERANCE * np.linalg.norm(advantages, axis=1)
    return float(1 - np.mean(explained & (slopes > 0)))


def _listed(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
