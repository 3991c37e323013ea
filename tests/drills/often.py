"""The experiments of a drill, whose runs write a checkpoint after each of their steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grue  # noqa: F401  registers its experiments
import sft_vs_rft  # noqa: F401  registers its experiments
from common.config.run import RunConfig
from common.experiment import EXPERIMENTS, Context, Experiment
from common.registry import import_part

Run = Callable[[RunConfig, Context], Any]


def _with_checkpoints(name: str) -> Run:
    def run(config: RunConfig, context: Context) -> Any:
        from common.training import checkpoint_interval

        checkpoint_interval.SECONDS_BETWEEN_CHECKPOINTS = 0.0
        checkpoint_interval.LEAST_MULTIPLE = 0.0
        return import_part(EXPERIMENTS.get(name).run)(config, context)

    return run


run_controlled = _with_checkpoints("sft_vs_rft")
run_finetune = _with_checkpoints("grue_finetune")
run_extract = _with_checkpoints("grue_extract")


def _experiment(name: str, run: str) -> Experiment:
    return replace(EXPERIMENTS.get(name), run=f"{__name__}:{run}", run_together=None)


CONTROLLED = _experiment("sft_vs_rft", "run_controlled")
FINETUNE = _experiment("grue_finetune", "run_finetune")
EXTRACT = _experiment("grue_extract", "run_extract")
