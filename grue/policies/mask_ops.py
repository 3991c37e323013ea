"""Operations on vocabulary masks (NLPO): pure functions, used by `vocabulary_mask`.

From Ramamurthy et al. 2023, arXiv 2210.01241, section 4. A mask is true at the tokens that may be
generated.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

BITS = 8
"""Number of tokens of a byte of a packed mask."""
_FAR = 1e30
"""Number by which logits of masked tokens are lowered."""
_DROPPED_BITS = 18
"""Last bits of a float32 in which the members of a bucket differ: 32 buckets for each doubling."""


def top_p_mask(logits: Tensor, top_p: float, fewest: int = 1) -> Tensor:
    """Return the mask [N, V] of the most probable tokens, up to the first that exceeds ``top_p``.

    A token is kept unless the more probable ones together exceed ``top_p``. The ``fewest`` most
    probable tokens and their ties are always kept.

    Args:
        logits: [N, V]; -inf for forbidden tokens.
        top_p: probability, in (0, 1].
        fewest: number of tokens, at least 1.
    """
    logits = logits.float()
    if top_p >= 1:
        return torch.ones_like(logits, dtype=torch.bool)
    on_cpu = logits.device.type == "cpu"
    find = _last_of_buckets if on_cpu else _last_of_sorted
    mask = logits >= find(logits, logits.softmax(-1), top_p)
    fewest = min(fewest, logits.shape[-1])
    # Elsewhere than on a CPU, asking whether there are too few takes longer than adding them.
    if fewest > 1 and not (on_cpu and bool((mask.sum(-1) >= fewest).all())):
        mask |= logits >= logits.topk(fewest).values[:, -1:]
    return mask


def _last_of_sorted(logits: Tensor, probabilities: Tensor, top_p: float) -> Tensor:
    """Return [N, 1] the smallest logit that ``top_p`` keeps."""
    descending = probabilities.sort(descending=True)
    # In float32 thousands of rare tokens would come too early or too late.
    total = descending.values.cumsum(-1, dtype=torch.float64)
    before = total - descending.values
    last = (before <= top_p * total[:, -1:]).sum(-1, keepdim=True).clamp(min=1) - 1
    return logits.gather(-1, descending.indices.gather(-1, last))


def _last_of_buckets(logits: Tensor, probabilities: Tensor, top_p: float) -> Tensor:
    """Return the same as `_last_of_sorted`, by buckets of near probabilities, one then sorted.

    On a CPU this takes a fraction of the time of sorting the vocabulary.
    """
    # The bits of numbers from zero on are in the order of the numbers.
    bucket = probabilities.numpy().view(np.uint32) >> _DROPPED_BITS
    limits = []
    for values, places, masses in zip(logits.numpy(), bucket, probabilities.numpy(), strict=True):
        # 1. The mass of each bucket and the more probable ones.
        of_buckets = np.bincount(places, masses)
        total = of_buckets[::-1].cumsum()[::-1]
        if np.isnan(total[0]):
            limits.append(np.float32(np.nan))
            continue
        # 2. The bucket with which the mass exceeds top_p, and how far into it.
        number = max(int((total > top_p * total[0]).sum()) - 1, 0)
        before = total[number] - of_buckets[number]
        inside = np.flatnonzero(places == number)
        inside = inside[np.argsort(-values[inside])]
        mass = masses[inside].astype(float)
        kept = int((before + mass.cumsum() - mass <= top_p * total[0]).sum())
        limits.append(values[inside[max(kept, 1) - 1]])
    return torch.from_numpy(np.array(limits))[:, None]


def top_k_mask(logits: Tensor, top_k: int) -> Tensor:
    """Return the mask [N, V] of the ``top_k`` most probable tokens and their ties."""
    return logits >= logits.topk(min(top_k, logits.shape[-1])).values[:, -1:]


def masked(logits: Tensor, bits: Tensor) -> Tensor:
    """Return logits [..., V] with -inf outside a packed mask, whatever stands there.

    On a CPU numbers of 0 and -inf are added, looked up for each byte of the mask. For 16 x
    50,257 logits this takes a fifth of the time of filling in, where a processor guesses at each
    token which way it goes. A sum tells whether an infinity or a number that is none was in the
    way.
    """
    if logits.device.type == "cpu":
        found = logits + _looked_up(bits, logits.shape[-1], logits.dtype, -torch.inf)
        if not bool(found.detach().sum().isnan()):
            return found
    return logits.masked_fill(~unpacked(bits, logits.shape[-1]), -torch.inf)


def packed(mask: Tensor) -> Tensor:
    """Return [..., ceil(V / 8)] the mask [..., V] packed as eight tokens per byte."""
    if mask.device.type == "cpu":  # in a fortieth of the time
        return torch.from_numpy(np.packbits(mask.numpy(), axis=-1, bitorder="little"))
    missing = -mask.shape[-1] % BITS
    bits: Tensor = torch.nn.functional.pad(mask, (0, missing)).unflatten(-1, (-1, BITS))
    places = torch.arange(BITS, dtype=torch.uint8, device=mask.device)
    return (bits.to(torch.uint8) << places).sum(-1, dtype=torch.uint8)


def unpacked(bits: Tensor, num_tokens: int) -> Tensor:
    """Return [..., V] the mask that was packed, of ``num_tokens`` tokens."""
    values = 1 << torch.arange(BITS, dtype=torch.uint8, device=bits.device)
    return (bits[..., None] & values).bool().flatten(-2)[..., :num_tokens]


def penalties(bits: Tensor, num_tokens: int, dtype: torch.dtype) -> Tensor:
    """Return [..., V] numbers that mask logits when added: 0 at the tokens of a packed mask.

    At other tokens they are so far below 0 that the logits there do not count, and are finite, so
    that products with a probability of zero are zero.
    """
    return _looked_up(bits, num_tokens, dtype, -_FAR)


def _looked_up(bits: Tensor, num_tokens: int, dtype: torch.dtype, elsewhere: float) -> Tensor:
    """Return [..., V] 0 at the tokens of a packed mask [..., ceil(V / 8)], a number elsewhere.

    On a CPU, looking up a byte's eight numbers is several times as fast as filling in.
    """
    of_bytes = _of_each_byte(dtype, bits.device, elsewhere)
    return torch.nn.functional.embedding(bits.int(), of_bytes).flatten(-2)[..., :num_tokens]


@functools.cache
def _of_each_byte(dtype: torch.dtype, device: torch.device, elsewhere: float) -> Tensor:
    """Return [256, 8] the numbers of each byte's tokens."""
    is_set = unpacked(torch.arange(2**BITS, dtype=torch.uint8, device=device)[:, None], BITS)
    return torch.where(is_set, 0.0, elsewhere).to(dtype)
