"""A minibatch of a rollout's outputs, of which some tokens count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from common import distributed
from grue.policies.sequences import Sequences
from grue.rl.equality import centred, scale_of
from grue.rl.token_positions import taken

ADVANTAGES = ("advantages", "kl_advantages", "task_advantages")
"""Each token's advantage, and the parts that KL penalties and the task's rewards make of it."""


@dataclass(frozen=True)
class Minibatch:
    """n outputs, of which M tokens count."""

    sequences: Sequences
    """[n, T]"""
    rows: Tensor
    """[n] numbers of the outputs in the rollout."""
    loss_mask: Tensor
    """[n, T] on the CPU: the tokens that count, in row-major order the M of everything below."""
    places: Tensor
    """[M] where `loss_mask` is true: row times T plus column."""
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
    """[M, ceil(V / 8)] the tokens that could come, packed; None without a mask."""
    weight: float = 1.0
    """Share of the tokens of the minibatch that it is a part of: those of all ranks add up to 1."""

    def __len__(self) -> int:
        return len(self.tokens)

    def counted(self, values: Tensor) -> Tensor:
        """[M, ...] of [n, T, ...] those of the tokens that count, without a copy if all do."""
        if len(self) == self.loss_mask.numel():
            return values.flatten(0, 1)
        return taken(values, self.places)

    def of_this_rank(self) -> Minibatch:
        """Return the outputs that fall to this rank.

        Means over them, times `weight`, add up over ranks. A rank to which none falls gets the
        first one and the weight 0, so that all ranks do alike.
        """
        if distributed.world_size() == 1:
            return self
        rows = distributed.shard_slice(len(self.loss_mask))
        is_idle = rows.start == rows.stop
        if is_idle:
            rows = slice(0, 1)
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
            weight=0.0 if is_idle else own / len(self),
        )

    def standardized(self) -> tuple[Minibatch, Tensor]:
        """Return the same with advantages of mean 0 and std 1, and [] what they were divided by.

        Equal advantages become 0, and are divided by 1.
        """
        found, scale = standardize([getattr(self, name) for name in ADVANTAGES])
        advantages, of_penalties, of_task = found
        return replace(
            self,
            advantages=advantages,
            kl_advantages=of_penalties,
            task_advantages=of_task,
        ), scale


def standardize(parts: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
    """Return [M] each the advantages and their parts, centred, over the std of the first.

    And [] that.
    """
    scale = scale_of(parts[0]) if len(parts[0]) > 1 else torch.ones_like(parts[0][:1])
    return [centred(part) / scale for part in parts], scale.squeeze()
