"""Trainer of transformers whose losses and checkpoints resume exactly."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer_callback import ExportableState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from common import distributed
from common.run.folder import replacing_folder
from common.run.folder_hashes import seal
from common.training import checkpoint
from common.training.attention_masks import masks_without_waits
from grue.rl.nan_checks import check_tensors
from grue.supervised.rank_batches import OWN, WHOLE, items_of

LEARNING_RATE = "alg.training_args.learning_rate"


class _Losses(TrainerCallback, ExportableState):
    """Mean loss since the last log line, which a resumed run continues.

    The library stores it in checkpoints under the name of this class.
    """

    def __init__(self, total: float = 0.0, count: int = 0) -> None:
        self._total: Any = total
        self._count = count

    def add(self, loss: torch.Tensor) -> None:
        """Add the loss of a step (or of a part of it, already divided by the number of parts)."""
        self._total = self._total + loss.detach()

    def on_step_end(
        self, args: Any, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Count the step."""
        self._count += 1

    def mean(self) -> float:
        """Return the mean, and reset it."""
        found = float(self._total) / max(self._count, 1)
        self._total, self._count = 0.0, 0
        return found

    def state(self) -> dict[str, Any]:
        """Return the state that `from_state` restores."""
        values = {"total": float(self._total), "count": self._count}
        return {"args": values, "attributes": {}}


class LossTrainer(Trainer):
    """Trainer whose logged loss does not depend on where it was resumed.

    Ranks share its batches, see `grue.supervised.rank_batches`; the library treats each rank as the
    only one.
    """

    def __init__(
        self, writing_checkpoint: Callable[[], AbstractContextManager[None]], **options: Any
    ) -> None:
        """``writing_checkpoint`` gives a block around the writing of each checkpoint."""
        super().__init__(**options)
        # The library asks a model's signature whether its loss is a mean over all batches of an
        # update, and is wrong about those that take any argument. Here it always is.
        self.model_accepts_loss_kwargs = self.loss_is_scaled_for_ga = True
        self._losses = _Losses()
        self._writing_checkpoint = writing_checkpoint
        self._place = output_folder(self.args)
        self.add_callback(self._losses)

    @masks_without_waits()
    def training_step(self, *args: Any, **options: Any) -> torch.Tensor:
        """Make one forward and backward pass; before an update, ranks sum their gradients."""
        loss: torch.Tensor = super().training_step(*args, **options)
        if self.accelerator.sync_gradients:
            assert self.model is not None, "it is trained"
            distributed.all_reduce_gradients(self.model.parameters())
        loss = distributed.all_reduce_sum(loss)
        self._own_losses().add(loss)
        return loss

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:  # fmt: skip
        """Return the part of an update's mean loss that a batch, or a rank's part of it, has."""
        own = inputs.pop(OWN)
        del inputs[WHOLE]
        assert num_items_in_batch, "an update has something to learn"
        mean = super().compute_loss(model, inputs)
        return mean * (own / num_items_in_batch)

    def get_batch_samples(
        self, epoch_iterator: Any, num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Return the batches of an update, and the number of items in their mean loss."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        return batches, items_of(batches)

    def _save_checkpoint(self, *args: Any, **options: Any) -> None:
        """Write a checkpoint, completely or not at all.

        Older ones are removed once it is on the disk.
        """
        check_weights(self.model, self.state)
        if not distributed.is_main():
            return
        assert self.model is not None and self.optimizer is not None, "they are trained"
        folder = output_folder(self.args)
        need = checkpoint.num_bytes([self.model.state_dict(), self.optimizer.state_dict()])
        target = folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        with self._writing_checkpoint():
            with replacing_folder(target, need) as made:
                self._place = made.parent
                super()._save_checkpoint(*args, **options)
                seal(made)
            self._place = folder
            rotate_checkpoints(str(folder), self.args.save_total_limit)

    def _get_output_dir(self, trial: Any) -> str:
        """Return the folder in which the library writes and searches checkpoints."""
        return str(self._place)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Write the measurements, with the mean of all losses since the last time."""
        if "loss" in logs:
            logs["loss"] = self._own_losses().mean()
        super().log(logs, start_time)

    def _own_losses(self) -> _Losses:
        """Return the callback in use, because a checkpoint replaces the first one by its own."""
        for callback in self.callback_handler.callbacks:
            if isinstance(callback, _Losses):
                return callback
        return self._losses


def check_weights(model: Any, state: TrainerState) -> None:
    """Refuse weights that are not finite, in checkpoints and at the end."""
    advice = f"lower '{LEARNING_RATE}'"
    check_tensors(model.state_dict(), f"step {state.global_step}", advice)


def output_folder(arguments: TrainingArguments) -> Path:
    """Folder of the checkpoints."""
    assert arguments.output_dir is not None, "the run gives one"
    return Path(arguments.output_dir)
