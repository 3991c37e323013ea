"""Log-linear trainers as runs begin with them, for tests of what they compute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from common.experiment import Context
from common.run.folder import RunFolder
from sft_vs_rft.log_linear.config import LogLinearConfig
from sft_vs_rft.log_linear.experiment import LogLinearExperiment
from sft_vs_rft.log_linear.trainer import LogLinearPolicy, LogLinearTrainer

GOLDEN = json.loads((Path(__file__).parents[2] / "golden/log_linear.json").read_text())
STALL = GOLDEN["sampled"]["ground truth 0.05"]["setting"]
"""The published setting with the least probable best output, trained on the ground truth."""


def config(**keys: Any) -> LogLinearConfig:
    return LogLinearConfig.model_validate(keys)


def trainer(folder: Path, *, seed: int = 0, **keys: Any) -> LogLinearTrainer:
    """The trainer of a run that begins in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    _, found = LogLinearExperiment(config(**keys), Context(RunFolder(folder), seed=seed)).prepare()
    assert isinstance(found, LogLinearTrainer)
    return found


def with_seed(like: LogLinearTrainer, seed: int) -> LogLinearTrainer:
    """A trainer at the same start that draws other outputs."""
    weights: torch.Tensor = like.model.weights
    return LogLinearTrainer(like.task, LogLinearPolicy(weights.numpy().copy()), seed)
