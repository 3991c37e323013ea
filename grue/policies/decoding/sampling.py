"""Token sampling from logits, by inverse CDF, after the published order of filters.

The order is: end-of-sequence forbidden before the smallest length, temperature, top-k, top-p. The
sampled token is the first whose cumulative probability exceeds a uniform number, so that a stream
of uniforms fixes an output. Probabilities are summed in blocks, which gives rare tokens their exact
share at a tenth of the cost of ``torch.multinomial`` on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

_FIRST_GUESS = 1024
"""Number of most probable tokens in which top-p looks for its set before it sorts the
vocabulary."""
_BLOCK = 256
"""Number of tokens whose probabilities are summed in float32, about the root of a large
vocabulary."""


@dataclass(frozen=True)
class Filters:
    """Sampling filters: temperature, top-k and top-p, or the library's own."""

    temperature: float = 1.0
    top_k: int = 0
    """Number of most probable tokens to keep; 0 keeps all."""
    top_p: float = 1.0
    of_library: Callable[[Tensor], Tensor] | None = None
    """The library's filters of logits [N, V], used if further keys ask for them. They replace all
    of the above."""

    @property
    def restrict(self) -> bool:
        """True if some tokens cannot be drawn."""
        return self.top_k > 0 or self.top_p < 1 or self.of_library is not None


@dataclass(frozen=True)
class Candidates:
    """Candidate tokens, C per row, with their probabilities."""

    probabilities: Tensor
    """[N, C] probabilities, not normalised: a row's sum is its last cumulative sum."""
    tokens: Tensor | None
    """[N, C] ids; None if they are the whole vocabulary in its order."""


def candidates(logits: Tensor, filters: Filters) -> Candidates:
    """Return the candidate tokens of ``logits`` [N, V] after all filters."""
    if filters.of_library is not None:
        return Candidates(filters.of_library(logits.float()).softmax(-1), None)
    scaled = logits.float()
    if filters.temperature != 1:  # which spares a copy
        scaled = scaled / filters.temperature
    if 0 < filters.top_k < scaled.shape[-1]:
        best, tokens = _top_k(scaled, filters.top_k)
        return Candidates(_nucleus(best.softmax(-1), filters.top_p), tokens)
    if filters.top_p >= 1:
        return Candidates(scaled.softmax(-1), None)
    return _top_p(scaled, filters.top_p)


def remaining(logits: Tensor, filters: Filters) -> Tensor:
    """Return the mask [N, V] of the tokens that can be drawn from ``logits`` [N, V]."""
    kept = candidates(logits, filters)
    if kept.tokens is None:
        return kept.probabilities > 0
    may = torch.zeros_like(logits, dtype=torch.bool)
    return may.scatter_(-1, kept.tokens, kept.probabilities > 0)


def _top_k(scaled: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Return the ``top_k`` most probable tokens of each row, with all ties of the last one.

    They are in descending order, padded with -inf. On a device, where the host would have to wait
    for their number, the whole vocabulary is sorted.
    """
    if not _is_quick_to_ask(scaled):
        best, tokens = scaled.sort(descending=True)
        least = best[:, top_k - 1 : top_k]
    else:
        best, tokens = scaled.topk(top_k + 1)
        least, after = best[:, top_k - 1 : top_k], best[:, top_k:]
        if bool(((after == least) & (after > -torch.inf)).any()):
            kept = (scaled >= least) & (scaled > -torch.inf)
            best, tokens = scaled.topk(int(kept.sum(-1).max()))
    return best.masked_fill(best < least, -torch.inf), tokens


def _is_quick_to_ask(tensor: Tensor) -> bool:
    """Return whether the host can read a number without waiting for a device."""
    return tensor.device.type == "cpu"


def _top_p(scaled: Tensor, top_p: float) -> Candidates:
    """Apply top-p alone.

    On a CPU the vocabulary is sorted only if its most probable tokens do not reach ``top_p``. On a
    device it is always sorted, because the host would have to wait for the comparison.
    """
    log_total = scaled.logsumexp(-1, keepdim=True)
    num_tokens = scaled.shape[-1]
    if _is_quick_to_ask(scaled):
        best, tokens = scaled.topk(min(_FIRST_GUESS, num_tokens))
        probabilities = (best - log_total).exp()
        if bool((probabilities.sum(-1) >= top_p).all()):
            return Candidates(_nucleus(probabilities, top_p), tokens)
    best, tokens = scaled.sort(descending=True)
    return Candidates(_nucleus((best - log_total).exp(), top_p), tokens)


def _nucleus(descending: Tensor, top_p: float) -> Tensor:
    """Set probabilities to zero from the first token before which the sum reaches ``top_p``."""
    if top_p >= 1:
        return descending
    before = descending.cumsum(-1, dtype=torch.float64) - descending
    return descending.masked_fill(before >= top_p, 0.0)


def draw(logits: Tensor, uniforms: Tensor, filters: Filters) -> Tensor:
    """Return one token per row.

    Args:
        logits: [N, V]; forbidden tokens have -inf.
        uniforms: [N] in [0, 1).
        filters: filters of the distribution.

    Returns:
        [N] ids.
    """
    kept = candidates(logits, filters)
    block, within = _located(_masses_of_blocks(kept.probabilities), uniforms.double()[:, None])
    position = block * _BLOCK + _located(_of_block(kept.probabilities, block), within)[0]
    return (position if kept.tokens is None else kept.tokens.gather(-1, position)).squeeze(-1)


def _masses_of_blocks(probabilities: Tensor) -> Tensor:
    """Return [N, ceil(C / _BLOCK)] the sums of blocks of the probabilities [N, C].

    The last block alone is filled up with zeros: on a CPU a copy of all would take as long as the
    model's own pass.
    """
    num_last = probabilities.shape[-1] % _BLOCK
    first = probabilities[:, : probabilities.shape[-1] - num_last]
    masses: Tensor = first.unflatten(-1, (-1, _BLOCK)).sum(-1)
    if not num_last:
        return masses
    last = pad(probabilities[:, -num_last:], (0, _BLOCK - num_last))
    return torch.cat([masses, last.sum(-1, keepdim=True)], -1)


def _of_block(probabilities: Tensor, block: Tensor) -> Tensor:
    """Return [N, _BLOCK] the probabilities [N, C] of a row's ``block`` [N, 1]; zeros past C."""
    num_tokens = probabilities.shape[-1]
    places = block * _BLOCK + torch.arange(_BLOCK, device=block.device)
    found = probabilities.gather(-1, places.clamp(max=num_tokens - 1))
    return found.masked_fill(places >= num_tokens, 0.0)


def _located(masses: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return the position at which a share [N, 1] in [0, 1) of the sum of ``masses`` [N, M] falls.

    Returns:
        [N, 1] the position, whose mass is above 0, and the share of that mass before the point.
    """
    # Near the whole sum float32 is so coarse that rare tokens would have wrong shares, or none.
    cumulative = masses.double().cumsum(-1)
    total = cumulative[:, -1:]
    # A share that is rounded up to the whole sum would lie past the last mass above 0.
    target = torch.minimum(shares * total, total.nextafter(torch.zeros_like(total)))
    position = torch.searchsorted(cumulative, target, right=True)
    before = pad(cumulative, (1, 0)).gather(-1, position)
    return position, (target - before) / (cumulative.gather(-1, position) - before)
