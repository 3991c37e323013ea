"""Gradients of input embeddings, which most tokens of a vocabulary have no part in."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from torch import nn


def trained_embeddings(models: Sequence[nn.Module]) -> list[nn.Embedding]:
    """Return the modules of input embeddings that are trained, those of all language models within.

    They are those on a CPU, where filling a matrix of the vocabulary's size with zeros takes as
    long as several layers.
    """
    found: dict[nn.Embedding, None] = {}
    for module in (module for model in models for module in model.modules()):
        get = getattr(module, "get_input_embeddings", None)
        if get is None or not isinstance(table := get(), nn.Embedding):
            continue
        if table.weight.requires_grad and table.weight.device.type == "cpu":
            same = (each for each in module.modules() if isinstance(each, nn.Embedding))
            found |= dict.fromkeys(each for each in same if each.weight is table.weight)
    return list(found)


@contextlib.contextmanager
def summed_by_rows(embeddings: Sequence[nn.Embedding]) -> Iterator[None]:
    """Make a pass forward and backward add gradients of embeddings to those rows that have any.

    So there is no second matrix of the vocabulary's size, whose sum with that of a tied output
    layer would be taken. Gradients are as dense afterwards as they would have been.
    """
    before = [each.sparse for each in embeddings]
    for each in embeddings:
        each.sparse = True
    try:
        yield
    finally:
        for each, was in zip(embeddings, before, strict=True):
            each.sparse = was
            if each.weight.grad is not None and each.weight.grad.is_sparse:
                each.weight.grad = each.weight.grad.to_dense()
