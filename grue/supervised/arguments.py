"""Arguments of the transformers Trainer, from a run's keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import (
    TrainingArguments,
)

from common.errors import UserError
from grue.supervised.config import TRAINER_BATCH

RENAMED = {"evaluation_strategy": "eval_strategy", "warmup_ratio": "warmup_steps",
            "no_cuda": "use_cpu"}  # fmt: skip


RUNS_OWN = ("output_dir", "seed", "data_seed", "report_to", "logging_dir", "overwrite_output_dir",
             "eval_strategy", "use_cpu", "disable_tqdm", "run_name", "save_only_model")  # fmt: skip
"""Arguments that the run itself sets."""


_KEPT = 2
"""Smallest number of checkpoints that are kept, because one may be damaged."""


_TF32 = "tf32"
"""Argument that the run applies before the Trainer is made, see `common.training.determinism`. The
Trainer would set it once, and for all later runs of the process too."""


_ASK_THE_DEVICE = ("torch_compile", "torch_compile_backend", "torch_compile_mode")
"""Arguments that make the library inspect, and so open, the GPU in use."""


def training_arguments(
    given: Mapping[str, Any], output_dir: Path, *, seed: int, device: torch.device
) -> TrainingArguments:
    """Return the Trainer's arguments: the published ones, with old names as the new ones.

    The Trainer uses ``device`` alone, whatever other GPUs the process sees.

    Raises:
        UserError: the Trainer does not know an argument, or a value.
    """
    arguments = {RENAMED.get(name, name): value for name, value in given.items()}
    kept = {name: value for name, value in arguments.items() if name not in (*RUNS_OWN, _TF32)}
    if not isinstance(arguments.get(_TF32), bool | None):
        raise UserError(
            f"'alg.training_args.{_TF32}' = {arguments[_TF32]!r}: expected true or false"
        )
    on_cpu = device.type == "cpu"
    try:
        found = TrainingArguments(
            output_dir=str(output_dir),
            seed=seed,
            report_to="none",
            eval_strategy="no",
            disable_tqdm=True,
            use_cpu=on_cpu,
            **{
                "remove_unused_columns": False,
                "dataloader_pin_memory": not on_cpu,
                "accelerator_config": {"non_blocking": not on_cpu},  # else each copy is a wait
                "logging_nan_inf_filter": False,
                "restore_callback_states_from_checkpoint": True,
                **kept,
                "save_total_limit": _num_kept(kept.get("save_total_limit", _KEPT)),
            },
        )
    except (TypeError, ValueError) as error:
        reason = str(error).removeprefix("TrainingArguments.__init__() ").partition("\n")[0]
        raise UserError(f"'alg.training_args': {reason}") from error
    # A second GPU, which a judge may have, would double the batch (DataParallel).
    found._n_gpu = min(found.n_gpu, 1)
    return found


def _num_kept(limit: Any) -> Any:
    """Return the number of checkpoints to keep for a configured ``limit``; None for all."""
    return max(limit, _KEPT) if type(limit) is int and limit > 0 else limit


def check_arguments(given: Mapping[str, Any], *, on_gpu: bool) -> TrainingArguments:
    """Return the Trainer's arguments for checks, in a process that opens no GPU.

    Raises:
        UserError: the Trainer does not know an argument, or a value.
    """
    asked = _ASK_THE_DEVICE if on_gpu else ()
    seen = {name: value for name, value in given.items() if name not in asked}
    found = training_arguments(seen, Path(), seed=0, device=torch.device("cpu"))
    if given.get(_TF32) and not on_gpu:
        raise UserError(
            f"'alg.training_args.{_TF32}' = true: the CPU has no TensorFloat-32; give the run a "
            "GPU ('gpu_ids', --gpu_ids), or drop it"
        )
    return found


def left_out(given: Mapping[str, Any]) -> list[str]:
    """Return the given arguments that the run itself sets."""
    return [name for name in given if RENAMED.get(name, name) in RUNS_OWN]


def check_count(count: int, given: Mapping[str, Any]) -> None:
    """Check that the number of rows makes a batch, with these arguments of the Trainer.

    Raises:
        UserError: there are too few rows for one batch, and incomplete batches are dropped.
    """
    size = given.get("per_device_train_batch_size", TRAINER_BATCH)
    if given.get("dataloader_drop_last") and isinstance(size, int) and count < size:
        raise UserError(
            f"'alg.training_args.dataloader_drop_last' = true: {count} training rows are less than "
            f"a batch of 'per_device_train_batch_size' = {size}, so that nothing is left to train "
            "on; set it to false, or take smaller batches"
        )
