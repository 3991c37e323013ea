"""Learning curves of log-linear runs, with what their settings say of them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import UserError
from common.run.folder import RunFolder, read_json_lines
from plots.needs import planned
from plots.needs.wanted import Wanted
from plots.runs import Run, json_object, load_runs

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

TRUTH, PROXY = "the ground truth", "a proxy"
LOOKS: dict[str, dict[str, Any]] = {
    TRUTH: {"color": "#0072B2", "linestyle": "solid"},
    PROXY: {"color": "#D55E00", "linestyle": "dashed"},
}
"""Looks of lines by the reward that is trained on."""
REWARD, BEST, MEDIOCRE = "ground truth reward", "best output", "mediocre output"
"""Columns of a curve: the expected ground truth reward, and the probabilities of two outputs."""
_SETTING = "setting.json"
_EXACT = "use_expected_reinforce_updates"
_LOW, _HIGH = 0.05, 0.95


@dataclass(frozen=True)
class Curve:
    """A run: its curve by update, and what its setting says of the first input."""

    table: pd.DataFrame
    """Columns `REWARD`, `BEST` and `MEDIOCRE` by update, which is the index."""
    is_sampled: bool
    trained_on: str
    """`TRUTH` or `PROXY`."""
    start: float
    """Probability of the best output at the start, to four digits."""
    mediocre_reward: float
    """Ground truth reward of the mediocre output, the second best."""
    inner_product: float
    """Inner product of the features of the best and of the mediocre output, to four digits."""
    updates: int
    """Number of updates of the run."""
    updates_to_target: float
    """Updates until the reward first reached the run's target; NaN if it never did."""
    target: float


def load(paths: Sequence[Path], only: str, *, sampled: bool | None = None) -> list[Curve]:
    """Return the curves of log-linear runs; with ``sampled``, of those with such updates alone.

    Raises:
        UserError: there are none.
    """
    found = [_curve(run) for run in load_runs(paths, WANTED, only)]
    chosen = [curve for curve in found if sampled in (None, curve.is_sampled)]
    if not chosen:
        value = str(not sampled).lower()
        raise UserError(
            f"nothing to draw: no run has '{_EXACT}' = {value}; draw this "
            "figure from a plan with such runs"
        )
    return chosen


def _read(folder: RunFolder) -> pd.DataFrame | None:
    """Return the curve of a log-linear run; None for other runs, and without a second output."""
    import pandas as pd

    setting = json_object(folder.path / _SETTING)
    if not setting:
        return None
    if len(setting["ground_truth_rewards"][0]) < 2:
        logger.warning("%s: left out, its first input has a single output", folder.path)
        return None
    best, mediocre = _best_two(setting)
    columns = {
        REWARD: "expected ground truth reward",
        BEST: f"input_0_y_prob_{best}",
        MEDIOCRE: f"input_0_y_prob_{mediocre}",
    }
    try:
        rows = read_json_lines(folder.metrics)
        found = {int(row["epoch"]): [row.get(name, math.nan) for name in columns.values()]
                 for row in rows}  # fmt: skip
    except (OSError, ValueError, KeyError) as error:
        logger.warning("%s: left out, cannot be read: %s", folder.metrics, error)
        return None
    table = pd.DataFrame.from_dict(found, orient="index", columns=[*columns], dtype=float)
    return table.rename_axis("update").sort_index() if found else None


WANTED = Wanted(
    _read,
    f"rows of the experiment 'log_linear' ({_SETTING} and metrics.jsonl)",
    'fix: draw this figure from a plan with "experiment": "log_linear"',
    planned.of_experiment("log_linear"),
)
EXACT = replace(
    WANTED,
    description=f"{WANTED.description} with '{_EXACT}' = true",
    left_by=lambda run: WANTED.left_by(run) and run.key(_EXACT),
)
SAMPLED = replace(
    WANTED,
    description=f"{WANTED.description} with '{_EXACT}' = false",
    left_by=lambda run: WANTED.left_by(run) and not run.key(_EXACT),
)


def _curve(run: Run) -> Curve:
    setting = json_object(run.path / _SETTING)
    best, mediocre = _best_two(setting)
    features, truth = np.array(setting["output_features"][0]), setting["ground_truth_rewards"]
    summary = json_object(RunFolder(run.path).summary)
    return Curve(
        table=run.table,
        is_sampled=not run.config.get(_EXACT, True),
        trained_on=TRUTH if setting["rewards"] == truth else PROXY,
        start=_rounded(setting["initial_policy_probabilities"][0][best]),
        mediocre_reward=truth[0][mediocre],
        inner_product=_rounded(features[best] @ features[mediocre]),
        updates=int(run.config["epochs"]),
        updates_to_target=float(summary.get("updates_to_target", math.nan)),
        target=float(run.config.get("target_reward", math.nan)),
    )


def _best_two(setting: dict[str, Any]) -> tuple[int, int]:
    """Return the outputs of the first input with the largest ground truth rewards."""
    order = np.argsort(-np.array(setting["ground_truth_rewards"][0]), kind="stable")
    return int(order[0]), int(order[1])


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


def bands(curves: Sequence[Curve], quantity: str) -> pd.DataFrame:
    """Return the median and the 5 and 95 % quantiles of a column over curves, by update."""
    import pandas as pd

    together = pd.concat([curve.table[quantity] for curve in curves], axis=1)
    return pd.DataFrame(
        {
            "n": together.notna().sum(axis=1),
            "median": together.median(axis=1),
            "low": together.quantile(_LOW, axis=1),
            "high": together.quantile(_HIGH, axis=1),
        }
    ).reset_index()


def groups(curves: Sequence[Curve]) -> dict[tuple[float, str], list[Curve]]:
    """Return the curves by start and trained reward, in the order of panels and legends."""
    found: dict[tuple[float, str], list[Curve]] = {}
    for curve in sorted(curves, key=lambda each: (each.start, [*LOOKS].index(each.trained_on))):
        found.setdefault((curve.start, curve.trained_on), []).append(curve)
    return found
