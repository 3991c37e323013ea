"""Perplexity of a text under a causal model, by a sliding window."""

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
"""How many the model reads in one pass, where one window is not longer."""


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
    """Windows that follow each other and are alike, at most ``size`` of them together."""
    for _, alike in itertools.groupby(spans, key=lambda span: (span[1] - span[0], span[2])):
        while batch := list(itertools.islice(alike, size)):
            yield batch


def _losses(model: PreTrainedModel, rows: Tensor) -> Tensor:
    """[n, L - 1] negative log-likelihood of each token but the first, in nats."""
    found: Any = model(input_ids=rows)
    logits = found.logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.mT, rows[:, 1:], reduction="none")
