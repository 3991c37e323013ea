"""Seconds to draw a token for 160 rows of 50,257 logits, beside cheaper and well-known ways.

The same draw by one cumulative sum in float32 shows what exact shares of rare tokens cost, and how
many tokens it would miss by more than a hundredth, of those that are more probable than one in a
million. One sum in float64 is the plain remedy. ``torch.multinomial`` after the library's filters
is what its ``generate`` does.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from transformers import TopKLogitsWarper, TopPLogitsWarper

from grue.policies.decoding.sampling import Filters, draw
from tests.benchmarks.text_models import VOCABULARY
from tests.benchmarks.timing import medians_in_turns

_ROWS = 160
_ROUNDS = 15
_RARE, _CLOSE = 1e-6, 0.01


def _by_one_sum(logits: Tensor, uniforms: Tensor, dtype: torch.dtype) -> Tensor:
    """[N] drawn from the whole vocabulary, whose probabilities are added up one by one."""
    cumulative = logits.softmax(-1).cumsum(-1, dtype=dtype)
    target = uniforms.to(dtype)[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, target, right=True).squeeze(-1)


def _by_library(logits: Tensor, filters: Filters) -> Tensor:
    """[N, 1] drawn as the library's ``generate`` does."""
    scores, ids = logits, torch.empty(0)
    if filters.top_k:
        scores = TopKLogitsWarper(filters.top_k)(ids, scores)
    if filters.top_p < 1:
        scores = TopPLogitsWarper(filters.top_p)(ids, scores)
    return torch.multinomial(scores.softmax(-1), 1)


def _share_missed(logits: Tensor) -> float:
    """The share of tokens that a sum in float32 misses by more than a hundredth."""
    probabilities = logits.softmax(-1)
    found = probabilities.cumsum(-1).diff(dim=-1)
    wanted = probabilities[:, 1:]
    counted = wanted > _RARE
    missed = (found - wanted).abs() > _CLOSE * wanted
    return float((missed & counted).sum() / counted.sum())


def main() -> None:
    """Prints milliseconds of each way, and the ratio to the library's."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(_ROWS, VOCABULARY, generator=generator)
    uniforms = torch.rand(_ROWS, generator=generator)
    for filters in (Filters(), Filters(top_k=50), Filters(top_p=0.9)):
        ways = {
            "own": partial(draw, logits, uniforms, filters),
            "library": partial(_by_library, logits, filters),
        }
        if not filters.restrict:
            for dtype in (torch.float32, torch.float64):
                ways[f"one sum in {dtype}"] = partial(_by_one_sum, logits, uniforms, dtype)
        seconds = medians_in_turns(ways, _ROUNDS)
        kept = f"top_k {filters.top_k}, top_p {filters.top_p:g}"
        told = ", ".join(f"{name} {1e3 * value:.1f} ms" for name, value in seconds.items())
        ratio = seconds["own"] / seconds["library"]
        print(f"drawing with {kept}: {told}; own / library {ratio:.2f}")
    print(f"tokens that a sum in float32 misses by over {_CLOSE:.0%}: {_share_missed(logits):.2%}")


if __name__ == "__main__":
    main()
