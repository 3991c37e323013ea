"""Logits block by block of the vocabulary, from hidden states and an output layer.

Axis letters: M tokens, H width of the states, V vocabulary, W width of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from grue.models.precision import exactly
from grue.models.products import is_by_onednn, product, rounded_up, with_rows
from grue.policies.mask_ops import BITS, penalties

_CPU_ENTRIES, _ENTRIES = 2**19, 2**25
"""Number of logits of a block: on a CPU as many as its cache holds."""
_LEAST_WIDTH = 256
"""Smallest width of a block."""
_KEPT_SHARE = 0.65
"""Largest memory of logits that are kept for the backward pass, as a share of the output layer's;
more are computed again."""


class Head(NamedTuple):
    """States and the weight of an output layer, whose product is the logits."""

    states: Tensor
    """[M, H] or [N, T, H], in float32 or more wide."""
    weight: Tensor
    """[V, H]"""

    @property
    def is_by_onednn(self) -> bool:
        """True if oneDNN makes the products."""
        return is_by_onednn(self.states, self.weight)

    def logits(self, block: slice) -> Tensor:
        """Return [M, W] the logits of some tokens of the vocabulary, in the type of the states."""
        weight = self.weight[block].to(self.states.dtype)
        return product(self.states, weight, by_onednn=self.is_by_onednn)

    def detached(self) -> Head:
        """Return the same as constants."""
        return Head(self.states.detach(), self.weight.detach())

    def with_rows(self, count: int) -> Head:
        """Return the same with as many states, those that are added being zero."""
        return Head(with_rows(self.states, count), self.weight)

    def at(self, chosen: Callable[[Tensor], Tensor]) -> Head:
        """Return the states [M, H] that ``chosen`` takes of [N, T, H], with the same layer."""
        return Head(chosen(self.states), self.weight)


class Block(NamedTuple):
    """Logits of a block of the vocabulary."""

    where: slice
    logits: Tensor
    """[M, W] of the policy within its mask; of a masked token, one that does not count."""
    ref_logits: Tensor | None
    """[M, W] of the reference."""
    whole: Tensor | None
    """[M, W] of the policy without its mask; None where there is none, and of blocks that are
    kept."""
    place: Tensor
    """[M, 1] index of each drawn token in the block, or any index if it is elsewhere."""
    has_token: Tensor
    """[M, 1] whether the drawn token is in the block."""

    def of_tokens(self, values: Tensor, otherwise: Tensor) -> Tensor:
        """Return [M, 1] the drawn tokens' ``values`` [M, W], or ``otherwise`` [M, 1] elsewhere."""
        return torch.where(self.has_token, values.gather(-1, self.place), otherwise)

    def without_tokens(self, values: Tensor) -> Tensor:
        """Return ``values`` [M, W] with zeros at the drawn tokens, in place."""
        kept = values.gather(-1, self.place).masked_fill_(self.has_token, 0.0)
        return values.scatter_(-1, self.place, kept)


@dataclass(frozen=True)
class Inputs:
    """Constants from which everything is computed, in the forward and in the backward pass.

    M is a number that `product` likes: there may be more tokens than were asked for.
    """

    policy: Head
    tokens: Tensor
    """[M, 1]"""
    allowed: Tensor | None
    reference: Head | None
    needs_gradients: bool
    kept: list[Block] = field(default_factory=list)
    """Logits that are kept for the backward pass, all or none."""

    @classmethod
    def of(
        cls,
        policy: Head,
        tokens: Tensor,
        allowed: Tensor | None,
        reference: Head | None,
        *,
        needs_gradients: bool,
    ) -> Inputs:
        """Return the inputs of tokens [m], followed by token 0 after states of zero."""
        count = rounded_up(len(tokens)) if policy.is_by_onednn else len(tokens)
        return cls(
            policy.detached().with_rows(count),
            with_rows(tokens[:, None], count),
            None if allowed is None else with_rows(allowed, count, 2**BITS - 1),
            None if reference is None else reference.detached().with_rows(count),
            needs_gradients,
        )

    def blocks(self) -> Iterator[Block]:
        """Yield the logits, block by block."""
        if self.kept:
            yield from self.kept
            return
        num_tokens, width = self.policy.states.shape
        keeps = self.needs_gradients and num_tokens < _KEPT_SHARE * width
        for block in self._computed():
            if keeps:
                self.kept.append(block._replace(whole=None))
            yield block

    def _computed(self) -> Iterator[Block]:
        device, size = self.tokens.device, len(self.policy.weight)
        entries = _CPU_ENTRIES if device.type == "cpu" else _ENTRIES
        width = max(_LEAST_WIDTH, entries // max(1, len(self.tokens)) // BITS * BITS)
        for start in range(0, size, width):
            where = slice(start, min(start + width, size))
            with exactly(device):
                logits = self.policy.logits(where)
                ref_logits = None if self.reference is None else self.reference.logits(where)
            whole = None
            if self.allowed is not None:
                whole, bits = logits, self.allowed[:, start // BITS : -(-where.stop // BITS)]
                logits = penalties(bits, whole.shape[-1], whole.dtype).add_(whole)
            place = self.tokens - start
            has_token = (place >= 0) & (self.tokens < where.stop)
            yield Block(where, logits, ref_logits, whole, place.clamp(0, width - 1), has_token)
