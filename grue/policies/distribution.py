"""Distributions over the vocabulary: log-probabilities and entropy of one pass over logits."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

from grue.policies.mask_ops import masked, unpacked

_IMPOSSIBLE = -1000.0
"""Log-probability below which a probability is zero, in float64 too."""
_TINY = torch.finfo(torch.float32).eps
"""Smallest probability within a mask in the published code; the largest is 1 minus it."""


def divided(logits: Tensor, temperature: float) -> Tensor:
    """Return logits in float32; logits that are float32 already are not copied."""
    return logits.float() if temperature == 1 else logits.float() / temperature


class TokenDistribution:
    """Next-token distribution of a policy in [...] states, within a vocabulary mask if any.

    The normaliser over the vocabulary is computed once; gradients flow.
    """

    def __init__(self, logits: Tensor, allowed: Tensor | None = None) -> None:
        """Set the logits and the mask of the policy.

        Args:
            logits: [..., V]; -inf for forbidden tokens.
            allowed: [..., ceil(V / 8)] packed vocabulary mask; None allows all tokens.
        """
        self.logits = logits
        """[..., V] logits without the mask."""
        self.allowed = allowed

    @cached_property
    def log_probs(self) -> Tensor:
        """[..., V] log-probabilities in nats; -inf for masked tokens."""
        logits = self.logits if self.allowed is None else masked(self.logits, self.allowed)
        return logits.log_softmax(-1)

    def probs(self) -> Tensor:
        """Return [..., V] probabilities, which sum to one."""
        return self.log_probs.exp()

    def log_prob(self, tokens: Tensor) -> Tensor:
        """Return [...] log-probabilities of ``tokens`` [...], in nats."""
        return self.log_probs.gather(-1, tokens[..., None]).squeeze(-1)

    def entropy(self) -> Tensor:
        """Return [...] the entropy -sum_a pi(a) log pi(a), in nats."""
        finite = self.log_probs.clamp(min=_IMPOSSIBLE)  # 0 times this is 0
        return -torch.einsum("...v,...v->...", self.probs(), finite)


class NotNormalized(TokenDistribution):
    """Masked distribution of the published code.

    Tokens keep their probabilities under the whole policy. Tokens outside the mask have the
    smallest probability that float32 distinguishes from zero next to one. The entropy multiplies
    probabilities that are normalised within the mask by these log-probabilities, which are not.
    """

    allowed: Tensor

    @cached_property
    def log_probs(self) -> Tensor:
        """[..., V] log-probabilities in nats; the mask's probabilities sum to less than one."""
        kept = torch.where(self._mask(), self.logits.log_softmax(-1), -torch.inf)
        return kept.clamp(math.log(_TINY), math.log1p(-_TINY))

    def probs(self) -> Tensor:
        """Return [..., V] probabilities, which sum to one within the mask."""
        return torch.where(self._mask(), self.logits, -torch.inf).softmax(-1)

    def _mask(self) -> Tensor:
        return unpacked(self.allowed, self.logits.shape[-1])
