"""Perplexity of a text under a causal model, by a sliding window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def windows(length: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Begin and end of each window over ``length`` tokens, and how many are new to it.

    Raises:
        ValueError: the stride is longer than the window, so that tokens would be left out.
    """
    if not 0 < stride <= window:
        raise ValueError(f"stride {stride} is not between 1 and the window {window}")
    for start in range(0, length, stride):
        end = min(start + stride, length)
        yield max(start + stride - window, 0), end, end - start


@torch.no_grad()
def perplexity(model: PreTrainedModel, ids: Sequence[int], window: int, stride: int) -> float:
    """The exponential of the mean negative log-likelihood of tokens, each given those before it.

    Each window scores the tokens that are new to it; its mean counts as often as it has new tokens.
    The first token of a window that begins with a new one has no prediction.

    Args:
        model: causal, in evaluation mode.
        ids: [L] tokens.
        window: most tokens that the model reads at once.
        stride: tokens from one window to the next.

    Returns:
        The perplexity; NaN where no token has one before it.
    """
    tokens = torch.tensor(ids, device=model.device)
    total, count = 0.0, 0
    for begin, end, new in windows(len(ids), window, stride):
        predicted = min(new, end - begin - 1)
        if predicted > 0:
            mean = float(_losses(model, tokens[begin:end])[-predicted:].mean())
            total, count = total + mean * new, count + new
    if not count:
        return math.nan
    return float(torch.tensor(total / count, dtype=torch.float64).exp())


def _losses(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """[L - 1] negative log-likelihood of each token but the first, in nats."""
    found: Any = model(input_ids=tokens[None])
    logits = found.logits[0, :-1].float()
    return torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="none")
