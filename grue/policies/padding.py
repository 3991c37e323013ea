"""Padding: on which side prompts and outputs of different lengths become one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.machine.devices import sent


@dataclass(frozen=True)
class Prompts:
    """B padded prompts as tensors."""

    ids: Tensor
    """[B, P] ids, padded on the left for causal models and on the right for encoders."""
    mask: Tensor
    """[B, P] attention mask: 1 at tokens, 0 at padding."""


def positions(mask: Tensor) -> Tensor:
    """Return [B, P] position of each token among the tokens of its row; 0 for padding."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


def pad_prompts(
    prompts: Sequence[Sequence[int]], *, fill: int, is_encoder_decoder: bool, device: Any
) -> Prompts:
    """Return prompts padded on the left, where outputs follow them; an encoder's on the right."""
    return pad(prompts, fill=fill, left=not is_encoder_decoder, device=device)


def pad_outputs(outputs: Sequence[Sequence[int]], *, fill: int, device: Any) -> Prompts:
    """Return outputs padded on the right."""
    return pad(outputs, fill=fill, left=False, device=device)


def pad(sequences: Sequence[Sequence[int]], *, fill: int, left: bool, device: Any) -> Prompts:
    """Return sequences of ids, padded on one side to the longest of them."""
    width = max(map(len, sequences))
    both = torch.zeros(2, len(sequences), width, dtype=torch.long)
    ids, mask = both
    ids.fill_(fill)
    for row, sequence in enumerate(sequences):
        place = slice(width - len(sequence), None) if left else slice(len(sequence))
        ids[row, place] = torch.tensor(sequence, dtype=torch.long)
        mask[row, place] = 1
    return Prompts(*sent(both, torch.device(device)))


def widened(values: Tensor, width: int) -> Tensor:
    """Return [n, T] padded with zeros to ``width`` columns."""
    return torch.nn.functional.pad(values, (0, width - values.shape[1]))
