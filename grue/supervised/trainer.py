"""Supervised finetuning: maximum likelihood of the references, by the transformers Trainer."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from common.errors import UserError
from grue.algorithms.optimizers import OPTIMIZERS
from grue.models.config import Optimizer
from grue.supervised.checkpoints import last_checkpoint
from grue.supervised.loss_trainer import (
    LEARNING_RATE,
    LossTrainer,
    check_weights,
    output_folder,
)
from grue.supervised.rank_batches import OwnPart

log = logging.getLogger(__name__)

_USUAL_LOGGING_STEPS = 500
"""Default interval of the library."""
_FEWEST_LINES = 10
"""Smallest number of log lines of a run without a given interval, if it has as many updates."""
_NEVER = 2**62
"""Number that exceeds the updates of any run."""


class FittedRun(Protocol):
    """The part of a `StepwiseRun` that a fit needs."""

    def begin_steps(self, num_steps: int, num_evaluations: int) -> None:
        """Take up a fit of so many steps, with so many evaluations on the way still to come."""

    def count_steps(self, done: int, epoch: float) -> None:
        """Note where the fit stands."""

    def tell_progress(self) -> None:
        """Tell how many steps are done."""

    def is_stop_requested(self) -> bool:
        """Return whether the run was asked to stop."""

    def is_save_due(self) -> bool:
        """Return whether it is time for a checkpoint."""

    def writing_checkpoint(self) -> AbstractContextManager[None]:
        """Return a block in which a checkpoint is written."""

    def record(self, values: Mapping[str, float]) -> None:
        """Append a row of metrics."""

    def evaluate_on_the_way(self) -> dict[str, float]:
        """Return the metrics of the validation split."""


class _Watch(TrainerCallback):
    """Callback for evaluations at log lines, checkpoints in time, and stop requests."""

    def __init__(self, run: FittedRun) -> None:
        self._run = run
        self._log_every = self._evaluate_every = _NEVER
        self.stopped = False

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Run before the first update, or before the first one after a resume."""
        self._evaluate_every, self._log_every = _intervals(args, state)
        is_known_before = args.max_steps > 0  # and told of with the plan
        if not is_known_before and 0 < state.max_steps <= args.get_warmup_steps(state.max_steps):
            log.warning(
                "'alg.training_args.warmup_steps' = %s: the run ends within its warm-up, after %d "
                "steps, and never reaches 'learning_rate'; lower it",
                args.warmup_steps, state.max_steps,
            )  # fmt: skip
        last = state.max_steps - 1
        num_left = last // self._evaluate_every - state.global_step // self._evaluate_every
        self._run.begin_steps(state.max_steps, num_left)

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Run after every update."""
        self._run.count_steps(state.global_step, float(state.epoch or 0.0))
        self._run.tell_progress()
        if state.global_step % self._log_every == 0:
            control.should_log = True
        if self._run.is_stop_requested() and state.global_step < state.max_steps:
            self.stopped = True
            control.should_training_stop = control.should_save = True
        elif self._run.is_save_due():
            control.should_save = True

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Run at every log line, with the mean loss of the updates since the last one.

        After the last update, the run itself evaluates on all splits.
        """
        values = {name: value for name, value in (logs or {}).items() if name != "epoch"}
        if "loss" not in values:
            return
        step = state.global_step
        if not math.isfinite(values["loss"]):
            raise UserError(f"the loss is {values['loss']} at step {step}; lower '{LEARNING_RATE}'")
        log.info("step %d of %d: loss %.4f", step, state.max_steps, values["loss"])
        is_extra = self._log_every < _NEVER and step % self._evaluate_every
        if step < state.max_steps and not is_extra:
            values |= self._run.evaluate_on_the_way()
        self._run.record(values)


def _intervals(arguments: TrainingArguments, state: TrainerState) -> tuple[int, int]:
    """Return the number of updates between evaluations, and between further log lines.

    Evaluations are at log lines. With the library's own interval, or one that is longer than the
    run, a short run would have no logged loss: then there are further lines, at least
    `_FEWEST_LINES` in all.
    """
    if arguments.logging_strategy == "no":
        return _NEVER, _NEVER
    if arguments.logging_strategy == "epoch":
        return math.ceil(state.max_steps / state.num_train_epochs), _NEVER
    every = int(arguments.logging_steps)
    if arguments.logging_steps < 1:  # a share of the run
        every = math.ceil(state.max_steps * arguments.logging_steps)
    if every != _USUAL_LOGGING_STEPS and every <= state.max_steps:
        return every, _NEVER
    most = max(1, min(every, state.max_steps // _FEWEST_LINES))
    return every, max(steps for steps in range(1, most + 1) if every % steps == 0)


def fit(
    model: torch.nn.Module,
    rows: torch.utils.data.Dataset[Any] | Sequence[Mapping[str, Any]],
    collator: Callable[[Any], dict[str, torch.Tensor]],
    arguments: TrainingArguments,
    run: FittedRun,
    *,
    optimizer: Optimizer = "adamw",
) -> bool:
    """Finetune a model in place, or resume from the last checkpoint in the output folder.

    Args:
        model: gives a loss for a batch.
        rows: what ``collator`` makes batches of.
        collator: makes a batch of rows.
        arguments: of the Trainer; checkpoints go to their ``output_dir``.
        run: is told of steps and rows, and asked whether to save and to stop.
        optimizer: may put another form of Adam in the place of the Trainer's.

    Returns:
        Whether all steps are done; False where a stop was asked for, and a checkpoint is written.

    Raises:
        UserError: the loss, or a weight in the end or for a checkpoint, is not finite.
    """
    watch = _Watch(run)
    collator = OwnPart(collator, shifted=not _is_encoder_decoder(model))
    trainer = LossTrainer(
        run.writing_checkpoint,
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=collator,
        callbacks=[watch],
        optimizer_cls_and_kwargs=_own_optimizer(arguments, optimizer),
    )
    trainer.remove_callback(PrinterCallback)  # the watch says it in the log
    found = last_checkpoint(output_folder(arguments))
    model.train()
    trainer.train(resume_from_checkpoint=None if found is None else str(found))
    run.count_steps(trainer.state.global_step, float(trainer.state.epoch or 0.0))
    if watch.stopped:
        return False
    model.eval()
    check_weights(model, trainer.state)
    return True


def _own_optimizer(arguments: TrainingArguments, form: Optimizer) -> tuple[Any, Any] | None:
    """Return the class of another form of Adam with the Trainer's settings.

    None keeps the Trainer's own.
    """
    if form == "adamw":
        return None
    _, settings = Trainer.get_optimizer_cls_and_kwargs(arguments)
    return OPTIMIZERS[form], settings


def _is_encoder_decoder(model: Any) -> bool:
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
