"""The theorem's two sides for single inputs over training: the run's ``theory.parquet``."""

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
    """Measures before the first epoch, every ``every`` epochs and after the last.

    Rows of the same epoch and of later ones, which a resumed fit makes again, are replaced. Stands
    after early stopping, whose restored weights are the last that are measured, and before
    `Checkpoints`: an epoch that is saved has been measured.
    """

    def __init__(self, path: Path, *, every: int, epochs: int, num_inputs: int) -> None:
        self.path = path
        self.every = every
        self.epochs = epochs
        self.num_inputs = num_inputs
        self._rows: pd.DataFrame | None = None

    def on_fit_start(self, trainer: Trainer[Any]) -> None:
        """Takes up the table of an earlier attempt; measures where there is none."""
        if self.path.exists():
            self._rows = read_table(self.path, ["epochs_trained"])
        else:
            self._measure(trainer)

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        """Measures when it is time, the last epoch excepted."""
        is_last = trainer.epoch >= self.epochs or trainer.stop_reason is not None
        if trainer.epoch % self.every == 0 and not is_last:
            self._measure(trainer)

    def on_fit_end(self, trainer: Trainer[Any]) -> None:
        """Measures the final weights."""
        self._measure(trainer)

    def _measure(self, trainer: Trainer[Any]) -> None:
        """Writes the table: what holds now, after the rows of earlier epochs."""
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
    """One row per input for the model as it stands; ``inputs`` [B] are positions."""
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
    """Positions of the inputs to measure: the changed ones, at most half, and others to fill up.

    Each part is taken at even distances, and without any random draw.

    Args:
        changed: [N] bool.
        limit: how many in all; 0 or less for all.

    Returns:
        [min(limit, N)] int64, the changed ones first.
    """
    limit = len(changed) if limit <= 0 else min(limit, len(changed))
    first, others = changed.nonzero()[:, 0], (~changed).nonzero()[:, 0]
    num_changed = min(len(first), max(limit // 2, limit - len(others)))
    return torch.cat([_spread(first, num_changed), _spread(others, limit - num_changed)])


def _spread(positions: Tensor, count: int) -> Tensor:
    """``count`` of the positions, at even distances."""
    return positions[torch.arange(count) * len(positions) // max(1, count)]
