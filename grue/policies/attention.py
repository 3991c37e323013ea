"""The library's attention without waits for its masks, and without copies of what samples share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any

import torch
from torch import Tensor


@contextlib.contextmanager
def masks_without_waits() -> Iterator[None]:
    """Has models make every mask, without a look at whether it hides anything; for functions too.

    The library leaves out a mask that hides nothing, for which the host waits for the device at
    each pass. On a CPU, where asking is free, this stays as it is.
    """
    from transformers import masking_utils

    known = masking_utils.ALL_MASK_ATTENTION_FUNCTIONS
    boolean, additive = known["sdpa"], known["eager"]
    unasked = {"sdpa": partial(_boolean, boolean), "eager": partial(_additive, additive, boolean)}
    with _replaced(known, unasked):
        yield


_KEEP = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
"""The library's words for not leaving out a mask."""


def _boolean(make: Callable[..., Any], **options: Any) -> Any:
    """A mask as ``make`` makes it, true where there is something to see."""
    return make(**options) if _is_on_cpu(options) else make(**options | _KEEP)


def _additive(
    make: Callable[..., Any], boolean: Callable[..., Any], *, dtype: torch.dtype, **options: Any
) -> Any:
    """A mask as ``make`` makes it, zero where there is something to see.

    Some versions of the library bring that zero from the host at each pass.
    """
    if _is_on_cpu(options):
        return make(dtype=dtype, **options)
    hidden = ~boolean(**options | _KEEP)
    return torch.zeros_like(hidden, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)


def _is_on_cpu(options: Mapping[str, Any]) -> bool:
    return torch.device(options["device"]).type == "cpu"


@contextlib.contextmanager
def shared_by_samples(places: Tensor, num_samples: int) -> Iterator[None]:
    """Has the rows of a decoder that belong to one prompt read one copy of its keys and values.

    Args:
        places: [N] of each row in the grid of M prompts by K samples, b K + k. The rows' queries
            have one position; keys, values and mask of cross-attention have M rows.
        num_samples: K.
    """
    from transformers import modeling_utils

    known = modeling_utils.ALL_ATTENTION_FUNCTIONS
    shared = partial(_shared, known["sdpa"], places, num_samples)
    with _replaced(known, {"sdpa": shared}):
        yield


def _shared(
    attend: Callable[..., Any],
    places: Tensor,
    num_samples: int,
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> Any:
    """Attention of queries [N, heads, 1, d] to keys [M, heads, P, d] of their prompts.

    The K samples of a prompt are K positions of its query: in cross-attention no position knows of
    another. Those of samples that have ended are zero. Where N is M each row has its own.
    """
    if len(key) == len(query):
        return attend(module, query, key, value, attention_mask, **options)
    grid = query.new_zeros(len(key) * num_samples, *query.shape[1:])
    grid = grid.index_copy(0, places, query).squeeze(2)  # [M K, heads, d]
    grid = grid.unflatten(0, (-1, num_samples)).transpose(1, 2)  # [M, heads, K, d]
    found, _ = attend(module, grid, key, value, attention_mask, **{**options, "is_causal": False})
    return found.flatten(0, 1)[places].unsqueeze(1), None  # [N, 1, heads, d]


@contextlib.contextmanager
def _replaced(
    known: MutableMapping[str, Any], functions: dict[str, Callable[..., Any]]
) -> Iterator[None]:
    """A block in which the library knows other functions by these names."""
    before = {name: known[name] for name in functions}
    known.update(functions)
    try:
        yield
    finally:
        known.update(before)
