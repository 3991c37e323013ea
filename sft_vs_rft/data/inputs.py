"""Inputs of a model, resident on the run's device and taken by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_TEXTS_PER_CHUNK = 32

ModelInputs = Tensor | Mapping[str, Tensor]


class Inputs(Protocol):
    """N inputs."""

    def __len__(self) -> int:
        """N."""

    @property
    def device(self) -> torch.device:
        """Where the inputs are."""

    def chunks(self, positions: Tensor, largest: int) -> list[Tensor]:
        """The positions [n], on the CPU, in groups that are best passed through a model together.

        A chunk has at most ``largest`` inputs; the order may change.
        """

    def gather(self, positions: Tensor) -> ModelInputs:
        """What the model takes for the inputs at ``positions`` [n]."""

    def single_examples(self, positions: Tensor) -> Tensor | list[ModelInputs]:
        """The inputs at ``positions`` [n] for measuring each alone: [n, ...], or n batches of one.

        The latter where their lengths differ.
        """

    def batches(self, largest: int) -> Iterator[tuple[Tensor | slice, ModelInputs]]:
        """All inputs once: where each group stands among the N, and what the model takes for it."""


@dataclass(frozen=True)
class DenseInputs:
    """Inputs of one shape: images and vectors."""

    values: Tensor  # [N, ...] float32

    def __len__(self) -> int:
        """N."""
        return len(self.values)

    @property
    def device(self) -> torch.device:
        """Where the inputs are."""
        return self.values.device

    def chunks(self, positions: Tensor, largest: int) -> list[Tensor]:
        """Runs of ``largest`` positions, in order."""
        return list(positions.split(largest))

    def gather(self, positions: Tensor) -> Tensor:
        """[n, ...]."""
        # On the CPU faster than indexing: an epoch of a small MLP gains 3 %.
        return self.values.index_select(0, positions.to(self.device, non_blocking=True))

    def single_examples(self, positions: Tensor) -> Tensor:
        """[n, ...]."""
        return self.gather(positions)

    def batches(self, largest: int) -> Iterator[tuple[slice, Tensor]]:
        """The inputs in order, without a copy."""
        for start in range(0, len(self), largest):
            group = slice(start, start + largest)
            yield group, self.values[group]


@dataclass(frozen=True)
class TextInputs:
    """Token ids; each chunk is padded to its own longest text and no further."""

    ids: Tensor  # [N, T] int64, padded
    token_types: Tensor  # [N, T] int64: 0 in the first text, 1 in the second
    lengths: Tensor  # [N] int64, on the CPU: chunks are laid out there

    def __len__(self) -> int:
        """N."""
        return len(self.ids)

    @property
    def device(self) -> torch.device:
        """Where the inputs are."""
        return self.ids.device

    def chunks(self, positions: Tensor, largest: int) -> list[Tensor]:
        """Texts of like length together."""
        by_length = positions[self.lengths[positions].argsort(stable=True)]
        return list(by_length.split(min(largest, _TEXTS_PER_CHUNK)))

    def gather(self, positions: Tensor) -> dict[str, Tensor]:
        """Keyword arguments of a transformers model."""
        longest = int(self.lengths[positions].max())
        index = positions.to(self.device, non_blocking=True)
        lengths = self.lengths[positions].to(self.device, non_blocking=True)
        return {
            "input_ids": self.ids[index, :longest],
            "token_type_ids": self.token_types[index, :longest],
            "attention_mask": torch.arange(longest, device=self.device) < lengths[:, None],
        }

    def single_examples(self, positions: Tensor) -> list[ModelInputs]:
        """Each text without padding."""
        return [self.gather(position) for position in positions.split(1)]

    def batches(self, largest: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The inputs by length."""
        for positions in self.chunks(torch.arange(len(self)), largest):
            yield positions.to(self.device, non_blocking=True), self.gather(positions)
