"""Supervised finetuning: maximum likelihood of the references, by the transformers Trainer."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from transformers import (
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from common import distributed
from common.errors import Interrupted, UserError
from common.experiment import Context
from common.training.pace import Pace
from grue.algorithms.optimizers import OPTIMIZERS
from grue.models.config import Optimizer
from grue.policies.policy import Policy
from grue.runs.tracking import Tracker
from grue.supervised.checkpoints import last_checkpoint
from grue.supervised.loss_trainer import (
    LEARNING_RATE,
    LossTrainer,
    check_weights,
    output_folder,
)
from grue.supervised.rank_batches import OwnPart
from grue.supervised.rows import Rows, collate

log = logging.getLogger(__name__)

_USUAL_LOGGING_STEPS = 500
"""The library's own."""
_FEWEST_LINES = 10
"""Log lines of a run that gives no interval, as far as it has updates."""
_NEVER = 2**62
"""More updates than any run makes."""


class _Watch(TrainerCallback):
    """Evaluates at log lines, writes checkpoints in time, and stops when asked to."""

    def __init__(
        self,
        context: Context,
        tracker: Tracker,
        evaluate: Callable[[str], dict[str, float]],
        tell_of_evaluations: Callable[[int], None],
        pace: Pace,
    ) -> None:
        self._context = context
        self._tracker = tracker
        self._evaluate = evaluate
        self._tell_of_evaluations = tell_of_evaluations
        self._pace = pace
        self._log_every = self._evaluate_every = _NEVER
        self.stopped = False

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Before the first update, or the first after a resume."""
        self._evaluate_every, self._log_every = _intervals(args, state)
        last = state.max_steps - 1
        num_left = last // self._evaluate_every - state.global_step // self._evaluate_every
        self._tell_of_evaluations(num_left)

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """After every update."""
        self._context.progress(state.global_step, state.max_steps)
        if state.global_step % self._log_every == 0:
            control.should_log = True
        stop = distributed.any_rank(self._context.stop_requested())
        if stop and state.global_step < state.max_steps:
            self.stopped = True
            control.should_training_stop = control.should_save = True
        elif self._pace.is_due():
            control.should_save = True

    def on_log(
        self,
        args: Any,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """At every log line, with the mean loss of the updates since the last one.

        What is measured after the last one, the run itself evaluates on all splits.
        """
        values = {name: value for name, value in (logs or {}).items() if name != "epoch"}
        if "loss" not in values:
            return
        step, epoch = state.global_step, float(state.epoch or 0.0)
        if not math.isfinite(values["loss"]):
            raise UserError(f"the loss is {values['loss']} at step {step}; lower '{LEARNING_RATE}'")
        log.info("step %d of %d: loss %.4f", step, state.max_steps, values["loss"])
        is_extra = self._log_every < _NEVER and step % self._evaluate_every
        if step < state.max_steps and not is_extra:
            values |= self._evaluate(f"epoch_{epoch:g}")
        self._tracker.add(step, epoch, values)


def _intervals(arguments: TrainingArguments, state: TrainerState) -> tuple[int, int]:
    """Update between evaluations, which come with log lines, and between further log lines.

    The library's own interval, or one that is longer than the run, would leave a short run without
    a loss: then there are further lines, `_FEWEST_LINES` in all at least.
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


def train(
    policy: Policy,
    rows: Rows,
    arguments: TrainingArguments,
    *,
    context: Context,
    tracker: Tracker,
    evaluate: Callable[[str], dict[str, float]],
    tell_of_evaluations: Callable[[int], None] = lambda count: None,
) -> TrainerState:
    """Finetune the policy's model, or goes on from the last checkpoint in the output folder.

    Args:
        policy: its model is trained in place.
        rows: token rows of prompts and references.
        arguments: of the Trainer; checkpoints go to their ``output_dir``.
        context: stop requests and progress.
        tracker: gets a row at every log line.
        evaluate: gives the metrics of the validation split for a label.
        tell_of_evaluations: is told how many of them there will be.

    Raises:
        Interrupted: a stop was asked for; a checkpoint is written.
        UserError: the loss, or a weight in the end or for a checkpoint, is not finite.
    """
    collator = functools.partial(collate, pad_token=policy.tokenizer.pad_token_id or 0)
    return fit(
        policy.model,
        rows,
        collator,
        arguments,
        context=context,
        tracker=tracker,
        evaluate=evaluate,
        tell_of_evaluations=tell_of_evaluations,
    )


def fit(
    model: torch.nn.Module,
    rows: torch.utils.data.Dataset[Any] | Sequence[Mapping[str, Any]],
    collator: Callable[[Any], dict[str, torch.Tensor]],
    arguments: TrainingArguments,
    *,
    context: Context,
    tracker: Tracker,
    evaluate: Callable[[str], dict[str, float]],
    tell_of_evaluations: Callable[[int], None] = lambda count: None,
    optimizer: Optimizer = "adamw",
) -> TrainerState:
    """Like `train`, for any model that gives a loss and rows that ``collator`` makes batches of.

    ``optimizer`` may put another form of Adam in the place of the Trainer's.
    """
    pace = Pace()
    watch = _Watch(context, tracker, evaluate, tell_of_evaluations, pace)
    collator = OwnPart(collator, shifted=not _is_encoder_decoder(model))
    trainer = LossTrainer(
        pace,
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
    if watch.stopped:
        raise Interrupted(f"step {trainer.state.global_step} of {trainer.state.max_steps}")
    model.eval()
    state: TrainerState = trainer.state
    check_weights(model, state)
    return state


def _own_optimizer(arguments: TrainingArguments, form: Optimizer) -> tuple[Any, Any] | None:
    """Return the class of another form of Adam with the Trainer's settings.

    None for the Trainer's own.
    """
    if form == "adamw":
        return None
    _, settings = Trainer.get_optimizer_cls_and_kwargs(arguments)
    return OPTIMIZERS[form], settings


def _is_encoder_decoder(model: Any) -> bool:
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
