"""Perplexity of a text under a causal model, with a sliding window."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_TOKENS = 1024
"""Tokens of one batch, unless a single window is longer."""


def windows(length: int, window: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Yield begin, end and number of new tokens of each window over ``length`` tokens.

    Raises:
        ValueError: the stride is longer than the window, so that tokens would be skipped.
    """
    if not 0 < stride <= window:
        raise ValueError(f"stride {stride} is not between 1 and the window {window}")
    for start in range(0, length, stride):
        end = min(start + stride, length)
        yield max(start + stride - window, 0), end, end - start


@torch.no_grad()
def perplexity(model: PreTrainedModel, ids: Sequence[int], window: int, stride: int) -> float:
    """Return exp of the mean negative log-likelihood of tokens, each given the ones before it.

    Each window scores its new tokens, and its mean is weighted by their number. A new token at the
    start of a window has no prediction.

    Args:
        model: causal, in evaluation mode.
        ids: [L] tokens.
        window: number of tokens that the model reads at once.
        stride: tokens from one window to the next.

    Returns:
        The perplexity; NaN if there are fewer than two tokens.
    """
    tokens = torch.tensor(ids, device=model.device)
    total, count = 0.0, 0
    for batch in _batches(windows(len(ids), window, stride), max(_TOKENS // window, 1)):
        _, end, new = batch[0]
        width = end - batch[0][0]
        predicted = min(new, width - 1)
        if predicted > 0:
            rows = torch.stack([tokens[begin:end] for begin, end, _ in batch])
            means = _losses(model, rows)[:, -predicted:].mean(1)
            total, count = total + float(means.sum()) * new, count + new * len(batch)
    if not count:
        return math.nan
    return float(torch.tensor(total / count, dtype=torch.float64).exp())


def _batches(
    spans: Iterable[tuple[int, int, int]], size: int
) -> Iterator[list[tuple[int, int, int]]]:
    """Yield groups of at most ``size`` consecutive windows of the same shape."""
    for _, alike in itertools.groupby(spans, key=lambda span: (span[1] - span[0], span[2])):
        while batch := list(itertools.islice(alike, size)):
            yield batch


def _losses(model: PreTrainedModel, rows: Tensor) -> Tensor:
    """Return [n, L - 1] the negative log-likelihood of each token but the first, in nats."""
    found: Any = model(input_ids=rows)
    logits = found.logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.mT, rows[:, 1:], reduction="none")
