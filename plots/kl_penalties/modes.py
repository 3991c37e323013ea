"""Groups of runs by the estimate of their KL penalty: sampled or exact, in gradient and reward."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from common.key_paths import value_at
from plots.runs import Run
from plots.variants import variants

GRADIENT = "alg.args.analytic_kl_grad"
REWARD = "alg.kl_div.analytic_kl_reward"
_PENALTY = "alg.kl_div"
STRENGTHS = ("alg.kl_div.target_kl", "alg.kl_div.coeff")
"""Keys of the penalty's strength, in the order of lookup."""
_ASIDE = frozenset(key.rpartition(".")[2] for key in (GRADIENT, REWARD, *STRENGTHS))


@dataclass(frozen=True)
class Mode:
    """Label and colour of the runs with one pair of switches."""

    label: str
    look: dict[str, Any]


MODES = {
    (False, False): Mode("sampled KL", {"color": "#0072B2", "marker": "o"}),
    (False, True): Mode("exact KL in the reward", {"color": "#E69F00", "marker": "s"}),
    (True, False): Mode("exact KL in the gradient", {"color": "#009E73", "marker": "^"}),
    (True, True): Mode("exact KL in both", {"color": "#D55E00", "marker": "D"}),
}
"""Modes by ``analytic_kl_grad`` and ``analytic_kl_reward``, in the order of legends."""
LABELS = [mode.label for mode in MODES.values()]


@dataclass(frozen=True)
class Group:
    """Runs that differ in seeds alone."""

    setting: str
    """Keys that distinguish the group, except mode and strength; empty if there are none."""
    mode: str
    """Label of the mode."""
    strength: float
    """KL target or, without one, the coefficient."""
    runs: Sequence[Run]

    def keys(self) -> dict[str, Any]:
        """Return the columns that name the group in a table."""
        return {"setting": self.setting, "mode": self.mode, "strength": self.strength}


def groups(runs: Sequence[Run]) -> Iterator[Group]:
    """Yield the runs that have a KL penalty, by setting, mode and strength."""
    penalised = [run for run in runs if value_at(run.config, _PENALTY, None) is not None]
    for variant in variants(penalised, _ASIDE):
        members = itertools.chain(*variant.methods.values())
        by_keys: dict[tuple[str, float], list[Run]] = {}
        for run in members:
            by_keys.setdefault((_label(run), strength(run)), []).append(run)
        for (label, value), group in sorted(
            by_keys.items(), key=lambda item: (LABELS.index(item[0][0]), item[0][1])
        ):
            yield Group(variant.title, label, value, group)


def strength(run: Run) -> float:
    """Return the run's KL target or, without one, its coefficient."""
    given = (value_at(run.config, key, None) for key in STRENGTHS)
    return next((float(value) for value in given if value is not None), 0.0)


def strength_in_words(runs: Sequence[Run]) -> str:
    """Return the name of the strength of these runs."""
    with_target = {value_at(run.config, STRENGTHS[0], None) is not None for run in runs}
    names = {True: "target of the KL per token (nats)", False: "KL coefficient (reward per nat)"}
    return " or ".join(names[key] for key in sorted(with_target, reverse=True))


def _label(run: Run) -> str:
    switches = (bool(value_at(run.config, key, False)) for key in (GRADIENT, REWARD))
    return MODES[next(switches), next(switches)].label
