"""Distributions over the vocabulary: log-probabilities and entropy of one pass over logits."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

_IMPOSSIBLE = -1000.0
"""Below this log-probability a probability is zero, in float64 too."""
_TINY = torch.finfo(torch.float32).eps
"""The published code keeps probabilities within a mask between this and one less it."""


def divided(logits: Tensor, temperature: float) -> Tensor:
    """In float32; a copy of the vocabulary's width is spared where nothing changes."""
    return logits.float() if temperature == 1 else logits.float() / temperature


class TokenDistribution:
    """What a policy says of the next token in each of [...] states, within a mask if there is one.

    What the log-probabilities need of the whole vocabulary is computed once; gradients flow.
    """

    def __init__(self, logits: Tensor, mask: Tensor | None = None) -> None:
        """Logits [..., V] of the policy, -inf for what cannot come; ``mask`` [..., V] what may."""
        self.logits = logits
        """[..., V] without the mask."""
        self.mask = mask

    @cached_property
    def log_probs(self) -> Tensor:
        """[..., V] in nats; -inf for what may not come."""
        logits = self.logits
        if self.mask is not None:
            logits = torch.where(self.mask, logits, -torch.inf)
        return logits.log_softmax(-1)

    def probs(self) -> Tensor:
        """[..., V] which sum to one."""
        return self.log_probs.exp()

    def log_prob(self, tokens: Tensor) -> Tensor:
        """[...] in nats, of tokens [...]."""
        return self.log_probs.gather(-1, tokens[..., None]).squeeze(-1)

    def entropy(self) -> Tensor:
        """[...] in nats, -sum_a pi(a) log pi(a)."""
        finite = self.log_probs.clamp(min=_IMPOSSIBLE)  # 0 times this is 0
        return -torch.einsum("...v,...v->...", self.probs(), finite)


class NotNormalized(TokenDistribution):
    """The published code's within a mask: tokens keep their probabilities under the whole policy.

    Those outside the mask have the least that float32 tells from one. The entropy has probabilities
    that sum to one within the mask before the logarithm, and these log-probabilities after it.
    """

    mask: Tensor

    @cached_property
    def log_probs(self) -> Tensor:
        """[..., V] in nats; within the mask they sum to less than one."""
        kept = torch.where(self.mask, self.logits.log_softmax(-1), -torch.inf)
        return kept.clamp(math.log(_TINY), math.log1p(-_TINY))

    def probs(self) -> Tensor:
        """[..., V] which sum to one within the mask."""
        return torch.where(self.mask, self.logits, -torch.inf).softmax(-1)
