"""The library's attention without copies of what the samples of a prompt share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from torch import Tensor

from common.training.attention_masks import replaced


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
