"""Statistics of the rewards that a model's outputs got, per input, from runs that sample."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.errors import UserError
from common.key_paths import value_at
from common.run.folder import RunFolder, read_json
from plots.needs import planned
from plots.needs.wanted import Wanted
from plots.runs import Run

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

COLUMNS = ["input_id", "metric", "n", "mean", "std", "min", "max", "zero_std"]
_NUMBERS = ["mean", "std", "min", "max"]


def read_stats(folder: RunFolder) -> pd.DataFrame | None:
    """Return the reward statistics per input of a run that samples; None for other runs."""
    import pandas as pd

    path = folder.table("reward_stats")
    try:
        table = pd.read_parquet(path, columns=COLUMNS)
        table[_NUMBERS] = table[_NUMBERS].apply(pd.to_numeric)
    except FileNotFoundError:
        if _samples(folder):
            logger.warning("%s: missing; the run has not sampled all its inputs yet", path)
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s: left out, cannot be read: %s", path, str(error).partition("\n")[0])
        return None
    defined = np.isfinite(table["std"])
    if not defined.any():
        logger.warning("%s: left out, one sample per input has no std", path)
    return table[defined] if defined.any() else None


def _samples(folder: RunFolder) -> bool:
    """Return whether the run samples, even if it has no results yet."""
    try:
        config = read_json(folder.config)
    except (OSError, ValueError):
        return False
    return value_at(config, "evaluation.num_samples_per_input") is not None


WANTED = Wanted(
    read_stats,
    "statistics of sampled rewards (reward_stats.parquet)",
    'fix: give runs of the experiment "grue_extract" with at least 2 samples per input',
    planned.samples,
)


def metric_of(runs: Sequence[Run], chosen: str | None) -> str:
    """Return the metric that all runs have: the configured one, or the first of each.

    Raises:
        UserError: a run lacks the configured one, or the first ones differ.
    """
    metrics = {run.path.name: run.table["metric"].unique().tolist() for run in runs}
    if chosen is not None:
        for name, known in metrics.items():
            if chosen not in known:
                raise UserError(
                    f"'metric' = '{chosen}': {name} has none such; it has {', '.join(known)}"
                )
        return chosen
    if len({known[0] for known in metrics.values()}) > 1:
        lines = [f"  {name}: {', '.join(known)}" for name, known in metrics.items()]
        raise UserError(
            "the runs have different first metrics, which one axis cannot show; choose one with "
            "--metric, or draw the runs apart:\n" + "\n".join(lines)
        )
    return str(metrics[runs[0].path.name][0])


def low_std_of(runs: Sequence[Run], chosen: float | None) -> float:
    """Return the threshold: the configured one, or that of all runs.

    Raises:
        UserError: the runs' thresholds differ.
    """
    if chosen is not None:
        return chosen
    found = {float(value_at(run.config, "evaluation.low_std", 0.01)) for run in runs}
    if len(found) > 1:
        shown = ", ".join(f"{value:g}" for value in sorted(found))
        raise UserError(
            f"the runs have different thresholds 'evaluation.low_std': {shown}; choose one with "
            "--low_std"
        )
    return found.pop()


def ddof_of(run: Run) -> int:
    """Return the correction of the run's stds: deviations are divided by K minus it."""
    return int(value_at(run.config, "evaluation.ddof", 1))
