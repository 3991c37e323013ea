"""Attention of decoders whose samples share one copy of their prompt's keys and values."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import Tensor

from common.training.attention_masks import replaced


@contextlib.contextmanager
def shared_by_samples(places: Tensor, num_samples: int) -> Iterator[None]:
    """Share one copy of a prompt's keys and values among the decoder rows of that prompt.

    Args:
        places: [N] index b K + k of each row in the grid of M prompts by K samples. The rows'
            queries have one position; keys, values and mask of cross-attention have M rows.
        num_samples: K samples of each prompt.
    """
    from transformers import modeling_utils

    known = modeling_utils.ALL_ATTENTION_FUNCTIONS
    shared = partial(_shared, known["sdpa"], places, num_samples)
    with replaced(known, {"sdpa": shared}):
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
    """Return attention of queries [N, heads, 1, d] to keys [M, heads, P, d] of their prompts.

    The K samples of a prompt become K positions of one query, because positions of cross-attention
    are independent. Positions of ended samples are zero. If N is M, each row has keys of its own.
    """
    if len(key) == len(query):
        return attend(module, query, key, value, attention_mask, **options)
    grid = query.new_zeros(len(key) * num_samples, *query.shape[1:])
    grid = grid.index_copy(0, places, query).squeeze(2)  # [M K, heads, d]
    grid = grid.unflatten(0, (-1, num_samples)).transpose(1, 2)  # [M, heads, K, d]
    found, _ = attend(module, grid, key, value, attention_mask, **{**options, "is_causal": False})
    return found.flatten(0, 1)[places].unsqueeze(1), None  # [N, 1, heads, d]
