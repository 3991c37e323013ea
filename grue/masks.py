"""Masks of the vocabulary: which tokens may come next, and distributions within them (NLPO).

From Ramamurthy et al. 2023, arXiv 2210.01241, section 4. A mask is true where a token may come.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_FIRST_GUESS = 1024
"""Tokens among which top-p looks for its set before it sorts the whole vocabulary."""
_TINY = torch.finfo(torch.float32).eps
"""The published code keeps probabilities between this and one less it."""
_BITS = 8


def top_p_mask(logits: Tensor, top_p: float, fewest: int = 1) -> Tensor:
    """[N, V] the most probable tokens, up to the first with which they exceed ``top_p``.

    A token may come unless the more probable ones together exceed ``top_p``; ``fewest`` may in any
    case.

    Args:
        logits: [N, V]; -inf for tokens that cannot come.
        top_p: probability, in (0, 1].
        fewest: number of tokens, at least 1.
    """
    if top_p >= 1:
        return torch.ones_like(logits, dtype=torch.bool)
    logits = logits.float()
    num_tokens = logits.shape[-1]
    log_total = logits.logsumexp(-1, keepdim=True)
    best, tokens = logits.topk(min(max(_FIRST_GUESS, fewest), num_tokens))
    probabilities = (best - log_total).exp()
    if bool((probabilities.sum(-1) <= top_p).any()):
        best, tokens = logits.sort(descending=True)
        probabilities = (best - log_total).exp()
    kept = probabilities.cumsum(-1) - probabilities <= top_p
    kept[:, :fewest] = True
    return torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, tokens, kept)


def top_k_mask(logits: Tensor, top_k: int) -> Tensor:
    """[N, V] the ``top_k`` most probable tokens of ``logits`` [N, V]."""
    tokens = logits.topk(min(top_k, logits.shape[-1])).indices
    return torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, tokens, True)


def masked_log_probs(logits: Tensor, mask: Tensor, *, normalized: bool = True) -> Tensor:
    """[..., V] log-probabilities of the tokens, within the mask.

    Args:
        logits: [..., V] of the policy.
        mask: [..., V]
        normalized: whether the probabilities of the mask's tokens sum to one. In the published code
            they do not: its tokens keep their probabilities under the whole policy, and the others
            have the least that float32 tells from one.
    """
    if normalized:
        return logits.masked_fill(~mask, -torch.inf).log_softmax(-1)
    kept = logits.log_softmax(-1).masked_fill(~mask, -torch.inf)
    return kept.clamp(math.log(_TINY), math.log1p(-_TINY))


def masked_entropy(logits: Tensor, mask: Tensor, *, normalized: bool = True) -> Tensor:
    """[...] entropy in nats within the mask, -sum pi'(a) log pi'(a).

    The published code (``normalized`` false) has the normalised pi' before the logarithm and the
    log-probabilities of the whole policy after it.
    """
    inside = logits.masked_fill(~mask, -torch.inf)
    log_probs = masked_log_probs(logits, mask, normalized=normalized)
    return -(inside.softmax(-1) * log_probs.masked_fill(~mask, 0.0)).sum(-1)


def packed(mask: Tensor) -> Tensor:
    """[..., ceil(V / 8)] the mask [..., V], eight tokens to a byte."""
    missing = -mask.shape[-1] % _BITS
    bits = torch.nn.functional.pad(mask, (0, missing)).unflatten(-1, (-1, _BITS))
    places = torch.arange(_BITS, dtype=torch.uint8, device=mask.device)
    return (bits.to(torch.uint8) << places).sum(-1, dtype=torch.uint8)


def unpacked(bits: Tensor, num_tokens: int) -> Tensor:
    """[..., V] the mask that was packed, of ``num_tokens`` tokens."""
    places = torch.arange(_BITS, dtype=torch.uint8, device=bits.device)
    return ((bits[..., None] >> places) & 1).bool().flatten(-2)[..., :num_tokens]
