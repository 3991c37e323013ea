"""Supervised finetuning: maximum likelihood of the references, by the transformers Trainer."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from common import distributed as ranks
from common.errors import UserError
from common.run.folder import replacing_folder
from common.run.sealed_folder import seal
from common.training import checkpoint
from common.training.attention_masks import masks_without_waits
from grue.algorithms.config import TRAINER_BATCH
from grue.algorithms.optimizers import OPTIMIZERS
from grue.models.config import Optimizer
from grue.rl.finite import check_tensors
from grue.supervised.checkpoints import last_checkpoint
from grue.supervised.rank_batches import OWN, WHOLE, OwnPart, items_of

log = logging.getLogger(__name__)

RENAMED = {"evaluation_strategy": "eval_strategy", "warmup_ratio": "warmup_steps",
            "no_cuda": "use_cpu"}  # fmt: skip
RUNS_OWN = ("output_dir", "seed", "data_seed", "report_to", "logging_dir", "overwrite_output_dir",
             "eval_strategy", "use_cpu", "disable_tqdm", "run_name", "save_only_model")  # fmt: skip
"""Arguments that the run itself decides on."""
_KEPT = 2
"""Checkpoints that are kept at least: one may be damaged."""
_LEARNING_RATE = "alg.training_args.learning_rate"
_TF32 = "tf32"
"""An argument that the run follows before the Trainer is made, see `common.training.numerics`: the
Trainer would set it for all later runs of the process too, and but once."""
_USUAL_LOGGING_STEPS = 500
"""The library's own."""
_FEWEST_LINES = 10
"""Log lines of a run that gives no interval, as far as it has updates."""
_NEVER = 2**62
"""More updates than any run makes."""
_ASK_THE_DEVICE = ("torch_compile", "torch_compile_backend", "torch_compile_mode")
"""Arguments at which the library looks at the GPU in use, and by that opens it."""


def training_arguments(
    given: Mapping[str, Any], output_dir: Path, *, seed: int, device: torch.device
) -> TrainingArguments:
    """The Trainer's arguments: the published ones, old names read as the new ones.

    The Trainer computes on ``device`` alone, whatever other GPUs the process sees.

    Raises:
        UserError: the Trainer knows no such argument, or no such value.
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
    """How many checkpoints are kept where ``limit`` was asked for; None for all."""
    return max(limit, _KEPT) if type(limit) is int and limit > 0 else limit


def check_arguments(given: Mapping[str, Any], *, on_gpu: bool) -> TrainingArguments:
    """The Trainer's arguments, made in a process that opens no GPU to see what is wrong with them.

    Raises:
        UserError: the Trainer knows no such argument, or no such value.
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
    """The given arguments that the run decides on itself."""
    return [name for name in given if RENAMED.get(name, name) in RUNS_OWN]


class _Losses(TrainerCallback, ExportableState):  # type: ignore[misc]
    """The mean loss since the last log line, which a resumed run goes on with."""

    def __init__(self, total: float = 0.0, count: int = 0) -> None:
        self._total: Any = total
        self._count = count

    def add(self, loss: torch.Tensor) -> None:
        """Counts the loss of a step (or of a part of it, already divided by their number)."""
        self._total = self._total + loss.detach()

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Counts the step."""
        self._count += 1

    def mean(self) -> float:
        """The mean; begins anew."""
        found = float(self._total) / max(self._count, 1)
        self._total, self._count = 0.0, 0
        return found

    def state(self) -> dict[str, Any]:
        """What `from_state` reads."""
        values = {"total": float(self._total), "count": self._count}
        return {"args": values, "attributes": {}}


class FittedRun(Protocol):
    """What a fit asks of the run that it is a part of, see `StepwiseRun`."""

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
        """Around the writing of a checkpoint."""

    def record(self, values: Mapping[str, float]) -> None:
        """Append a row of metrics."""

    def evaluate_on_the_way(self) -> dict[str, float]:
        """Return the metrics of the validation split."""


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Evaluates at log lines, writes checkpoints in time, and stops when asked to."""

    def __init__(self, run: FittedRun) -> None:
        self._run = run
        self._log_every = self._evaluate_every = _NEVER
        self.stopped = False

    def on_train_begin(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Before the first update, or the first after a resume."""
        self._evaluate_every, self._log_every = _intervals(args, state)
        last = state.max_steps - 1
        num_left = last // self._evaluate_every - state.global_step // self._evaluate_every
        self._run.begin_steps(state.max_steps, num_left)

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """After every update."""
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
        """At every log line, with the mean loss of the updates since the last one.

        What is measured after the last one, the run itself evaluates on all splits.
        """
        values = {name: value for name, value in (logs or {}).items() if name != "epoch"}
        if "loss" not in values:
            return
        step = state.global_step
        if not math.isfinite(values["loss"]):
            raise UserError(
                f"the loss is {values['loss']} at step {step}; lower '{_LEARNING_RATE}'"
            )
        log.info("step %d of %d: loss %.4f", step, state.max_steps, values["loss"])
        is_extra = self._log_every < _NEVER and step % self._evaluate_every
        if step < state.max_steps and not is_extra:
            values |= self._run.evaluate_on_the_way()
        self._run.record(values)


def _intervals(arguments: TrainingArguments, state: TrainerState) -> tuple[int, int]:
    """Updates between evaluations, which come with log lines, and between further log lines.

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


class _LossTrainer(Trainer):  # type: ignore[misc]
    """A Trainer whose logged loss does not depend on where it was resumed.

    Ranks share its batches, see `grue.supervised.rank_batches`; the library takes each of them for
    the only one.
    """

    def __init__(self, losses: _Losses, run: FittedRun, **options: Any) -> None:
        super().__init__(**options)
        # The library asks a model's signature whether its loss is a mean over all batches of an
        # update, and is wrong about those that take any argument. Here it always is.
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True
        self._losses = losses
        self._run = run
        self._place = Path(self.args.output_dir)
        self.add_callback(losses)

    @masks_without_waits()
    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        """One forward and backward pass; before an update, ranks add their gradients up."""
        loss: torch.Tensor = super().training_step(*args, **options)
        if self.accelerator.sync_gradients:
            ranks.sum_gradients(self.model.parameters())
        loss = ranks.total(loss)
        self._own_losses().add(loss)
        return loss

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False,
        num_items_in_batch: int | None = None,
    ) -> Any:  # fmt: skip
        """The part of an update's mean loss that a batch, or a rank's part of it, makes."""
        own = inputs.pop(OWN)
        del inputs[WHOLE]
        assert num_items_in_batch, "an update has something to learn"
        mean = super().compute_loss(model, inputs)
        return mean * (own / num_items_in_batch)

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """The batches of an update, and how many items their loss is a mean over."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, items_of(batches)

    def _save_checkpoint(self, *args: Any, **options: Any) -> None:
        """Writes a checkpoint, whole or not at all; older ones go once it is on the disk."""
        _check_weights(self.model, self.state)
        if not ranks.is_first():
            return
        folder = Path(self.args.output_dir)
        need = checkpoint.num_bytes([self.model.state_dict(), self.optimizer.state_dict()])
        target = folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        with self._run.writing_checkpoint():
            with replacing_folder(target, need) as made:
                self._place = made.parent
                super()._save_checkpoint(*args, **options)
                seal(made)
            self._place = folder
            rotate_checkpoints(str(folder), self.args.save_total_limit)

    def _get_output_dir(self, trial: Any) -> str:
        """Where the library puts a checkpoint's folder, and looks for older ones."""
        return str(self._place)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Writes what was measured, with the mean of all losses since the last time."""
        if "loss" in logs:
            logs["loss"] = self._own_losses().mean()
        super().log(logs, start_time)

    def _own_losses(self) -> _Losses:
        """The callback in use: a checkpoint puts its own in the place of the first one."""
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, _Losses):
                return callback
        return self._losses


def fit(
    model: PreTrainedModel,
    rows: torch.utils.data.Dataset[Any],
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
    trainer = _LossTrainer(
        _Losses(),
        run,
        model=model,
        args=arguments,
        train_dataset=rows,
        data_collator=collator,
        callbacks=[watch],
        optimizer_cls_and_kwargs=_own_optimizer(arguments, optimizer),
    )
    trainer.remove_callback(PrinterCallback)  # the watch says it in the log
    found = last_checkpoint(Path(arguments.output_dir))
    model.train()
    trainer.train(resume_from_checkpoint=None if found is None else str(found))
    run.count_steps(trainer.state.global_step, float(trainer.state.epoch or 0.0))
    if watch.stopped:
        return False
    model.eval()
    _check_weights(model, trainer.state)
    return True


def _check_weights(model: Any, state: TrainerState) -> None:
    """Refuses weights that are not finite: they are neither kept nor the end of a run."""
    advice = f"lower '{_LEARNING_RATE}'"
    check_tensors(model.state_dict(), f"step {state.global_step}", advice)


def check_count(count: int, given: Mapping[str, Any]) -> None:
    """Looks whether so many rows make a batch, with these arguments of the Trainer.

    Raises:
        UserError: they are fewer than one, and a batch that is not full is dropped.
    """
    size = given.get("per_device_train_batch_size", TRAINER_BATCH)
    if given.get("dataloader_drop_last") and isinstance(size, int) and count < size:
        raise UserError(
            f"'alg.training_args.dataloader_drop_last' = true: {count} training rows are less than "
            f"a batch of 'per_device_train_batch_size' = {size}, so that nothing is left to train "
            "on; set it to false, or take smaller batches"
        )


def _own_optimizer(arguments: TrainingArguments, form: Optimizer) -> tuple[Any, Any] | None:
    """The class of another form of Adam with the Trainer's settings; None for the Trainer's own."""
    if form == "adamw":
        return None
    _, settings = Trainer.get_optimizer_cls_and_kwargs(arguments)
    return OPTIMIZERS[form], settings


def _is_encoder_decoder(model: Any) -> bool:
    return bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
