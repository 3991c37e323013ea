"""Table of both sides of the theorem for single inputs over training: ``theory.parquet``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from common.run.folder import read_table, write_table
from common.training.trainer import Callback, Trainer
from sft_vs_rft.theory import bound as theory
from sft_vs_rft.trainer import ControlledTrainer

if TYPE_CHECKING:
    import pandas as pd

NAME = "theory"


class TheoryTable(Callback):
    """Callback that measures before the first epoch, every ``every`` epochs and after the last.

    Rows of the same and later epochs, which a resumed fit repeats, are replaced. Its order is after
    early stopping, whose restored weights are measured last, and before `Checkpoints`, so that
    every saved epoch has been measured.
    """

    def __init__(self, path: Path, *, every: int, epochs: int, num_inputs: int) -> None:
        self.path = path
        self.every = every
        self.epochs = epochs
        self.num_inputs = num_inputs
        self._rows: pd.DataFrame | None = None

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Load the table of an earlier attempt; measure if there is none."""
        if self.path.exists():
            self._rows = read_table(self.path, ["epochs_trained"])
        else:
            self._measure(trainer)

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Measure at the configured epochs, except the last one."""
        is_last = trainer.epoch >= self.epochs or trainer.stop_reason is not None
        if trainer.epoch % self.every == 0 and not is_last:
            self._measure(trainer)

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """Measure the final weights."""
        self._measure(trainer)

    def _measure(self, trainer: Trainer[Any]) -> None:
        """Write the table: present measurements, after the rows of earlier epochs."""
        import pandas as pd

        assert isinstance(trainer, ControlledTrainer)
        now = table(trainer, chosen_inputs(trainer.data.changed, self.num_inputs))
        if self._rows is not None:
            seen = self._rows.epochs_trained
            kept = self._rows[(seen < trainer.epoch) & (seen != trainer.weights_epoch)]
            now = pd.concat([kept, now], ignore_index=True) if len(kept) else now
            now = now.sort_values("epochs_trained", kind="stable", ignore_index=True)
        self._rows = now
        write_table(self.path, now)


def table(trainer: ControlledTrainer, inputs: Tensor) -> pd.DataFrame:
    """Return one row per input for the present model; ``inputs`` [B] are positions."""
    import pandas as pd

    data = trainer.data
    with theory.as_network(trainer.model, trainer.config.logits_temperature) as (network, params):
        index = inputs.to(trainer.rewards.device)
        given = data.train_inputs.single_examples(inputs)
        bounds = theory.measure(network, params, given, trainer.rewards[index])
    return pd.DataFrame(
        {
            "epochs_trained": trainer.weights_epoch,
            "input": inputs.numpy(),
            "changed": data.changed[inputs].numpy(),
            "reward_std": bounds.reward_std.cpu(),
            "grad_norm": bounds.grad_norm.cpu(),
            "jacobian_norm": bounds.jacobian_norm.cpu(),
            "bound": bounds.bound.cpu(),
        }
    )


def chosen_inputs(changed: Tensor, limit: int) -> Tensor:
    """Return the positions of the inputs to measure: changed ones, at most half, and others.

    Each part is taken at even distances, without any random draw.

    Args:
        changed: [N] bool.
        limit: number of positions; 0 or less for all.

    Returns:
        [min(limit, N)] int64, the changed ones first.
    """
    limit = len(changed) if limit <= 0 else min(limit, len(changed))
    first, others = changed.nonzero()[:, 0], (~changed).nonzero()[:, 0]
    num_changed = min(len(first), max(limit // 2, limit - len(others)))
    return torch.cat([_spread(first, num_changed), _spread(others, limit - num_changed)])


def _spread(positions: Tensor, count: int) -> Tensor:
    """Return ``count`` of the positions, at even distances."""
    return positions[torch.arange(count) * len(positions) // max(1, count)]
