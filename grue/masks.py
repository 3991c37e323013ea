"""Masks of the vocabulary: which tokens may come next, and distributions within them (NLPO).

From Ramamurthy et al. 2023, arXiv 2210.01241, section 4. A mask is true where a token may come.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_TINY = torch.finfo(torch.float32).eps
"""The published code keeps probabilities between this and one less it."""
_BITS = 8


def top_p_mask(logits: Tensor, top_p: float, fewest: int = 1) -> Tensor:
    """[N, V] the most probable tokens, up to the first with which they exceed ``top_p``.

    A token may come unless the more probable ones together exceed ``top_p``; ``fewest`` may in any
    case, and what is as probable as they are.

    Args:
        logits: [N, V]; -inf for tokens that cannot come.
        top_p: probability, in (0, 1].
        fewest: number of tokens, at least 1.
    """
    logits = logits.float()
    if top_p >= 1:
        return torch.ones_like(logits, dtype=torch.bool)
    best = _descending(logits)
    probabilities = best.softmax(-1)
    kept = probabilities.cumsum(-1) - probabilities <= top_p
    last = kept.sum(-1, keepdim=True).clamp(min=min(fewest, best.shape[-1])) - 1
    return logits >= best.gather(-1, last)


def _descending(logits: Tensor) -> Tensor:
    """[N, V] each row's values in order; on a CPU NumPy needs a fiftieth of torch's time."""
    if logits.device.type != "cpu":
        return logits.sort(descending=True).values
    return torch.from_numpy(np.sort(logits.numpy())).flip(-1)


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
    probs = logits.masked_fill(~mask, -torch.inf).softmax(-1)
    if normalized:  # without logarithms of zero: log pi'(a) = z_a - log Z, log Z by the best token
        best = probs.argmax(-1, keepdim=True)
        log_total = (logits.gather(-1, best) - probs.gather(-1, best).log()).squeeze(-1)
        return log_total - (probs * logits).sum(-1)
    return -(probs * masked_log_probs(logits, mask, normalized=False)).sum(-1)


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
