"""Words of captions: numbers of inputs, samples and seeds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from common.key_paths import value_at
from common.run.folder import RunFolder
from plots.runs import Run, json_object

_NUM_SAMPLES = "train_evaluation.num_samples_per_input"
_NUM_DRAWN = "alg.args.num_samples_per_input"
SPLITS = ("train/", "val/", "test/")
"""Beginnings of the names of what evaluations measure."""
SAMPLES = "elapsed/samples"
"""Metric of the outputs drawn so far, those drawn in vain included."""


def from_to(numbers: Collection[Any]) -> str:
    """Return the range of numbers, ``2 to 5``, or the one that all are."""
    return " to ".join(f"{number:,}" for number in sorted({min(numbers), max(numbers)}))


def over_seeds(counts: Collection[int]) -> str:
    """Return the numbers of seeds of points, ``2 to 5 seeds``."""
    return f"{from_to(counts)} seed{'s' if max(counts) > 1 else ''}"


def evaluated(runs: Sequence[Run], metrics: Iterable[str]) -> str:
    """Return the numbers of inputs of runs' evaluations and of the samples of each.

    Runs that have not ended, and those of earlier versions, do not tell their inputs.

    Args:
        runs: runs that finetune.
        metrics: names of what is drawn, which begin with the split.
    """
    splits = {metric.partition("/")[0] for metric in metrics}
    sizes = [size for run in runs for split, size in _num_inputs(run).items() if split in splits]
    inputs = f"n = {from_to(sizes)} inputs, " if sizes else ""
    samples = [int(value_at(run.config, _NUM_SAMPLES, 1)) for run in runs]
    each = "each" if sizes else "each input"
    return f"{inputs}K = {from_to(samples)} sample{'s' if max(samples) > 1 else ''} of {each}"


def drawn_outputs(runs: Sequence[Run]) -> str:
    """Return the numbers of iterations of runs, of outputs drawn in each, and of one input's."""
    samples = [int(value_at(run.config, _NUM_DRAWN, 1)) for run in runs]
    of_input = f"K = {from_to(samples)} of an input"
    elapsed = [run.table[SAMPLES].dropna() for run in runs if SAMPLES in run.table]
    if not elapsed:
        return of_input
    each = [round(of_run.max() / len(of_run)) for of_run in elapsed]
    iterations = from_to([len(of_run) for of_run in elapsed])
    plural = "" if iterations == "1" else "s"
    return f"{iterations} iteration{plural}, n = {from_to(each)} outputs in each, {of_input}"


def tells_inputs(run: Run) -> bool:
    """Return whether a run has written how many inputs of each split it evaluates."""
    return bool(_num_inputs(run))


def _num_inputs(run: Run) -> Mapping[str, int]:
    found = json_object(RunFolder(run.path).summary).get("num_inputs")
    return found if isinstance(found, dict) else {}
