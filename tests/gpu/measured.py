"""Runs of language models that also note what memory of a GPU their own process took."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grue  # noqa: F401  registers its experiments
from common.experiment import EXPERIMENTS, Context
from common.registry import import_part
from common.run.folder import write_json

FILE = "gpu_memory.json"
"""In the run's folder: ``peak`` in bytes, 0 where nothing was computed on a GPU."""


def _measured(name: str) -> Any:
    return replace(EXPERIMENTS.get(name), run=f"{__name__}:run_{name}")


def _run(name: str, config: Any, context: Context) -> float | None:
    import torch

    if torch.cuda.is_initialized():  # an earlier run of this worker's has used it
        torch.cuda.reset_peak_memory_stats()
    score: float | None = import_part(EXPERIMENTS.get(name).run)(config, context)
    write_json(context.folder.path / FILE, {"peak": torch.cuda.max_memory_allocated()})
    return score


def run_grue_finetune(config: Any, context: Context) -> float | None:
    """A run of finetuning."""
    return _run("grue_finetune", config, context)


def run_reward_model(config: Any, context: Context) -> float | None:
    """A run that trains a reward model."""
    return _run("reward_model", config, context)


def run_grue_classifier(config: Any, context: Context) -> float | None:
    """A run that trains a classifier."""
    return _run("grue_classifier", config, context)


FINETUNE, REWARD_MODEL, CLASSIFIER = map(
    _measured, ("grue_finetune", "reward_model", "grue_classifier")
)
