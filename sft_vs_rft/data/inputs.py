"""Inputs of a model, held on the run's device and selected by position."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_TEXTS_PER_CHUNK = 32

ModelInputs = Tensor | Mapping[str, Tensor]


class Inputs(Protocol):
    """N inputs of a model."""

    def __len__(self) -> int:
        """Number of texts, N."""

    @property
    def device(self) -> torch.device:
        """Device of the token ids."""

    def chunks(self, positions: Tensor, largest: int) -> list[Tensor]:
        """Return the positions [n], on the CPU, in chunks of similar inputs.

        A chunk has at most ``largest`` inputs; the order may change.
        """

    def gather(self, positions: Tensor) -> ModelInputs:
        """Return the model's argument for the inputs at ``positions`` [n]."""

    def single_examples(self, positions: Tensor) -> Tensor | list[ModelInputs]:
        """Return the inputs at ``positions`` [n] one by one: [n, ...], or n batches of one.

        Batches of one are for inputs of different lengths.
        """

    def batches(self, largest: int) -> Iterator[tuple[Tensor | slice, ModelInputs]]:
        """Yield all inputs once, in groups: their slice or positions, and the model's argument."""


@dataclass(frozen=True)
class DenseInputs:
    """Inputs of one shape: images and vectors."""

    values: Tensor  # [N, ...] float32

    def __len__(self) -> int:
        """Number of texts, N."""
        return len(self.values)

    @property
    def device(self) -> torch.device:
        """Device of the token ids."""
        return self.values.device

    def chunks(self, positions: Tensor, largest: int) -> list[Tensor]:
        """Return ``largest`` positions at a time, in order."""
        return list(positions.split(largest))

    def gather(self, positions: Tensor) -> Tensor:
        """Return [n, ...] the inputs."""
        # On the CPU faster than indexing: an epoch of a small MLP gains 3 %.
        return self.values.index_select(0, positions.to(self.device, non_blocking=True))

    def single_examples(self, positions: Tensor) -> Tensor:
        """Return [n, ...] the inputs."""
        return self.gather(positions)

    def batches(self, largest: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield the inputs in order, without a copy."""
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
        """Number of texts, N."""
        return len(self.ids)

    @property
    def device(self) -> torch.device:
        """Device of the token ids."""
        return self.ids.device

    def chunks(self, positions: Tensor, largest: int) -> list[Tensor]:
        """Return positions of texts of similar length together."""
        by_length = positions[self.lengths[positions].argsort(stable=True)]
        return list(by_length.split(min(largest, _TEXTS_PER_CHUNK)))

    def gather(self, positions: Tensor) -> dict[str, Tensor]:
        """Return the texts as keyword arguments of a transformers model."""
        longest = int(self.lengths[positions].max())
        index = positions.to(self.device, non_blocking=True)
        lengths = self.lengths[positions].to(self.device, non_blocking=True)
        return {
            "input_ids": self.ids[index, :longest],
            "token_type_ids": self.token_types[index, :longest],
            "attention_mask": torch.arange(longest, device=self.device) < lengths[:, None],
        }

    def single_examples(self, positions: Tensor) -> list[ModelInputs]:
        """Return each text without padding."""
        return [self.gather(position) for position in positions.split(1)]

    def batches(self, largest: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yield the texts by length."""
        for positions in self.chunks(torch.arange(len(self)), largest):
            yield positions.to(self.device, non_blocking=True), self.gather(positions)
