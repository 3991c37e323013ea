"""Minibatch of a rollout: some outputs, and those of their tokens that are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from common import distributed
from grue.policies.sequences import Sequences
from grue.rl.numeric_equality import centred, scale_of
from grue.rl.token_positions import taken
from grue.rl.tolerance import TOLERANCE

ADVANTAGES = ("advantages", "kl_advantages", "task_advantages")
"""Names of the advantages, and of their parts from KL penalties and from the task's rewards."""


@dataclass(frozen=True)
class Minibatch:
    """Minibatch of n outputs with M tokens used for training."""

    sequences: Sequences
    """[n, T]"""
    rows: Tensor
    """[n] indices of the outputs in the rollout."""
    loss_mask: Tensor
    """[n, T] CPU mask of the tokens used for training; in row-major order they are the M of all
    fields below."""
    places: Tensor
    """[M] flat positions where `loss_mask` is true: row times T plus column."""
    tokens: Tensor
    """[M]"""
    log_probs: Tensor
    """[M] at the time of the rollout."""
    ref_log_probs: Tensor
    """[M]"""
    values: Tensor
    """[M] at the time of the rollout."""
    returns: Tensor
    """[M]"""
    advantages: Tensor
    """[M]"""
    kl_advantages: Tensor
    """[M]"""
    task_advantages: Tensor
    """[M]"""
    vocab_mask_bits: Tensor | None
    """[M, ceil(V / 8)] packed vocabulary masks; None without a mask."""
    weight: float = 1.0
    """Share of the tokens of the whole minibatch that this part has; the shares of all parts and
    ranks sum to 1."""

    def __len__(self) -> int:
        return len(self.tokens)

    def counted(self, values: Tensor) -> Tensor:
        """Return [M, ...] the values [n, T, ...] of the trained tokens; no copy if all are."""
        if len(self) == self.loss_mask.numel():
            return values.flatten(0, 1)
        return taken(values, self.places)

    def parts(self, size: int | None) -> Iterator[Minibatch]:
        """Yield this rank's share of each part of at most ``size`` outputs; None for one part.

        Means over them, times `weight`, add up over parts and ranks.
        """
        num_outputs = len(self.loss_mask)
        for start in range(0, num_outputs, size or num_outputs):
            yield self._of(slice(start, start + (size or num_outputs))).of_this_rank()

    def of_this_rank(self) -> Minibatch:
        """Return this rank's part of the outputs.

        Means over them, times `weight`, add up over ranks. A rank to which none falls gets the
        first one and the weight 0, so that all ranks do alike.
        """
        if distributed.world_size() == 1:
            return self
        rows = distributed.shard_slice(len(self.loss_mask))
        if rows.start == rows.stop:
            return replace(self._of(slice(0, 1)), weight=0.0)
        return self._of(rows)

    def _of(self, rows: slice) -> Minibatch:
        """Return some of the outputs, with their share of the `weight`."""
        if len(self.loss_mask[rows]) == len(self.loss_mask):
            return self
        before, own = int(self.loss_mask[: rows.start].sum()), int(self.loss_mask[rows].sum())
        mine = slice(before, before + own)
        names = ("tokens", "log_probs", "ref_log_probs", "values", "returns",
                 *ADVANTAGES)  # fmt: skip
        return replace(
            self,
            **{name: getattr(self, name)[mine] for name in names},
            sequences=self.sequences.rows(rows),
            rows=self.rows[rows],
            loss_mask=self.loss_mask[rows],
            places=self.places[mine] - rows.start * self.loss_mask.shape[1],
            vocab_mask_bits=None if self.vocab_mask_bits is None else self.vocab_mask_bits[mine],
            weight=self.weight * own / len(self),
        )

    def standardized(self) -> tuple[Minibatch, Tensor]:
        """Return the same minibatch with advantages of mean 0 and std 1, and [] their divisor.

        Equal advantages become 0, and are divided by 1.
        """
        found, scale = standardize(
            [getattr(self, name) for name in ADVANTAGES], self.values, self.returns
        )
        parts: dict[str, Any] = dict(zip(ADVANTAGES, found, strict=True))
        return replace(self, **parts), scale


def standardize(
    parts: Sequence[Tensor], values: Tensor, returns: Tensor
) -> tuple[list[Tensor], Tensor]:
    """Return [M] each (A - mean) / std of advantages and (part - mean) / std of parts, and [] std.

    The std is that of the advantages, less one degree of freedom. Advantages are differences of
    returns and values: where they differ by the rounding of these alone they are equal and become
    0, and the divisor is 1, so that neither they nor a loss are divided by a vanishing std.

    Args:
        parts: [M] each, the advantages and their parts.
        values: [M] of the critic.
        returns: [M] targets of the critic.
    """
    advantages = parts[0]
    largest = torch.maximum(values.abs().amax(), returns.abs().amax())
    vary = advantages.amax() - advantages.amin() > TOLERANCE * largest
    scale = torch.where(vary, scale_of(advantages).squeeze(), 1.0)
    found = [centred(part) / scale for part in parts]
    return [torch.where(vary, found[0], 0.0), *found[1:]], scale
