"""Runs that halt at a known place after their checkpoint, to be killed there; then they go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import grue  # noqa: F401  registers its experiments
import sft_vs_rft  # noqa: F401  registers its experiments
from common.errors import Interrupted
from common.experiment import EXPERIMENTS, Context
from common.registry import import_part
from common.run.folder import RunFolder

MARKER = "halted"
"""A file in the run's folder: it has halted, and will not do so again."""
CHECKPOINT_AT, HALT_AFTER = 3, 2
"""Units of progress until the checkpoint, and how many are made in vain after it."""


def has_halted(folder: RunFolder) -> bool:
    """Whether a run has come to where it waits to be killed."""
    return _marker(folder).exists()


def _marker(folder: RunFolder) -> Path:
    return folder.path / MARKER


def _run(name: str, config: Any, context: Context) -> float | None:
    """A run of a known kind, which halts once."""
    run: Callable[[Any, Context], float | None] = import_part(EXPERIMENTS.get(name).run)
    if has_halted(context.folder):
        return run(config, context)
    try:
        run(config, _stopping(context, CHECKPOINT_AT))
    except Interrupted:
        run(config, _halting(context, CHECKPOINT_AT + HALT_AFTER))
    raise AssertionError("the run is too short to be halted")


def _stopping(context: Context, at: int) -> Context:
    """In which a stop is asked for as soon as so many units are done."""
    made = [0]

    def progress(done: int, total: int, doing: str = "") -> None:
        made[0] = done
        context.progress(done, total, doing)

    return replace(context, progress=progress, stop_requested=lambda: made[0] >= at)


def _halting(context: Context, at: int) -> Context:
    """In which the run waits for ever as soon as so many units are done."""

    def progress(done: int, total: int, doing: str = "") -> None:
        context.progress(done, total, doing)
        if done >= at:
            _marker(context.folder).touch()
            time.sleep(3600)

    return replace(context, progress=progress)


def run_controlled(config: Any, context: Context) -> float | None:
    """A controlled run."""
    return _run("sft_vs_rft", config, context)


def run_finetune(config: Any, context: Context) -> float | None:
    """A finetuning run of a language model."""
    return _run("grue_finetune", config, context)


CONTROLLED = replace(EXPERIMENTS.get("sft_vs_rft"), run=f"{__name__}:run_controlled",
                     run_together=None)  # fmt: skip
FINETUNE = replace(EXPERIMENTS.get("grue_finetune"), run=f"{__name__}:run_finetune")
