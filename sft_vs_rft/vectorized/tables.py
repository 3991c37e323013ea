"""Training data of R runs, in tables that one index serves."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sft_vs_rft.data.inputs import DenseInputs, Inputs
from sft_vs_rft.methods import Predictions
from sft_vs_rft.objectives import uniform_log_probs
from sft_vs_rft.trainer import ControlledTrainer


class StackedInputs:
    """Inputs of R runs, n each; runs with the same inputs share their rows."""

    def __init__(self, inputs: Sequence[Inputs]) -> None:
        tables = [own.values for own in inputs if isinstance(own, DenseInputs)]
        assert len(tables) == len(inputs)
        different = {id(table): table for table in tables}
        self._table = (
            tables[0] if len(different) == 1 else torch.cat(list(different.values()))
        )  # [different * n, ...]
        starts = {key: place * len(tables[0]) for place, key in enumerate(different)}
        self._starts = torch.tensor(
            [[starts[id(table)]] for table in tables], device=self._table.device
        )  # [R, 1]

    def gather(self, positions: Tensor) -> Tensor:
        """Return [R, b, ...] each run's inputs at its ``positions`` [R, b]."""
        rows = self._table.index_select(0, (positions + self._starts).flatten())
        inputs: Tensor = rows.unflatten(0, positions.shape)
        return inputs


class StackedTargets:
    """Labels, rewards and references of the training inputs of R runs."""

    def __init__(self, trainers: Sequence[ControlledTrainer]) -> None:
        self._labels = torch.cat([trainer.targets for trainer in trainers])  # [R * N (, k)]
        self._rewards = torch.cat([trainer.rewards for trainer in trainers])  # [R * N, C]
        given = [trainer.reference for trainer in trainers]
        self._reference = None
        if any(reference is not None for reference in given):
            # A run without a penalty has the coefficient 0; what stands here is of no effect.
            uniform = uniform_log_probs(trainers[0].rewards)
            self._reference = torch.cat([uniform if own is None else own for own in given])
        num_inputs = len(trainers[0].rewards)
        runs = torch.arange(len(trainers), device=self._rewards.device)
        self._starts = runs[:, None] * num_inputs  # [R, 1]

    def of(self, logits: Tensor, positions: Tensor, drawn: Tensor | None) -> Predictions:
        """Return R * b predictions, one run after the other.

        Args:
            logits: [R, b, C].
            positions: [R, b] of the inputs.
            drawn: [R, b] labels, if the method needs them.
        """
        index = (positions + self._starts).flatten()
        return Predictions(
            logits.flatten(0, 1),
            self._labels.index_select(0, index),
            self._rewards.index_select(0, index),
            None if self._reference is None else self._reference.index_select(0, index),
            None if drawn is None else drawn.flatten(),
        )
