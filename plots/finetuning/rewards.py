"""Rewards of the same inputs before and after finetuning, from runs that sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import Problem, UserError
from common.key_paths import value_at
from common.run.folder import RunFolder
from plots.finetuning.lineage import model_key, run_before
from plots.needs import planned
from plots.needs.planned import PlannedRun
from plots.runs import Run, json_object
from plots.sampled.stats import metric_of
from plots.variants import SEEDS, dataset_names

if TYPE_CHECKING:
    import pandas as pd

RFT, SFT = "RFT", "SFT"
METHODS = (RFT, SFT)
"""Kinds of finetuning: by rewards, and by references."""
LOOKS: Mapping[str, Mapping[str, Any]] = {
    RFT: {"color": "#D55E00", "marker": "s"},
    SFT: {"color": "#0072B2", "marker": "o"},
}

_FIX = (
    "fix: in the plan, sample the model that the run began with, and '@<id>.model' of the run, "
    "with equal keys of 'datapool'"
)


@dataclass(frozen=True)
class Finetuned:
    """A finetuning run, with the rewards of the same inputs under its first and last model."""

    dataset: str
    """Label of the inputs' data."""
    metric: str
    """Name of the reward."""
    method: str
    """`RFT` or `SFT`."""
    start: str
    """Name of the run, or the model, that it began with."""
    seed: int
    before: pd.DataFrame
    """Statistics of the rewards under the first model, by input (index ``input_id``)."""
    after: pd.DataFrame
    """The same under the last model, of the same inputs."""


def not_before_and_after(runs: Sequence[PlannedRun]) -> Iterator[Problem]:
    """Yield the problem of a plan that samples no model that one of its runs has finetuned."""
    if not any(run.is_users or _may_sample_finetuned(run) for run in runs):
        yield Problem(f"no run of the plan samples the model of a run that finetunes; {_FIX}")


def _may_sample_finetuned(run: PlannedRun) -> bool:
    return planned.samples(run) and planned.made_by(run, planned.finetunes)


def finetuned(sampled: Sequence[Run], metric: str | None) -> list[Finetuned]:
    """Return the finetuning runs whose first and last models were both sampled.

    Args:
        sampled: runs that sample, with the tables of `plots.sampled.stats.read_stats`.
        metric: reward; None for the first metric of each data set.

    Raises:
        UserError: there is none, or the runs of a data set have different metrics.
    """
    datasets = dataset_names(sampled)
    found = []
    for dataset in dict.fromkeys(datasets):
        runs = [run for run, name in zip(sampled, datasets, strict=True) if name == dataset]
        found += list(_of_dataset(runs, dataset, metric_of(runs, metric)))
    if not found:
        raise UserError(
            "nothing to draw: no inputs were sampled both before and after a finetuning run\n"
            f"  {_FIX}"
        )
    return found


def _of_dataset(runs: Sequence[Run], dataset: str, metric: str) -> Iterator[Finetuned]:
    """Yield the finetuning runs whose models were sampled with the same data."""
    by_model = {model_key(run.path, run.config): run for run in runs}
    for run in runs:
        folder = run_before(run.path, run.config)
        config = {} if folder is None else json_object(RunFolder(folder).config)
        start = "" if folder is None else model_key(folder, config)
        if start not in by_model:
            continue
        tables = [_rewards(one, metric) for one in (by_model[start], run)]
        shared = tables[0].index.intersection(tables[1].index)
        if shared.empty:
            continue
        is_sft = "supervised" in str(value_at(config, "alg.id", ""))
        name = json_object(RunFolder(Path(start)).config).get("experiment_name", start)
        yield Finetuned(
            dataset,
            metric,
            SFT if is_sft else RFT,
            start=str(name),
            seed=next((config[key] for key in sorted(SEEDS) if config.get(key) is not None), 0),
            before=tables[0].loc[shared],
            after=tables[1].loc[shared],
        )


def _rewards(run: Run, metric: str) -> pd.DataFrame:
    return run.table[run.table["metric"] == metric].set_index("input_id")
