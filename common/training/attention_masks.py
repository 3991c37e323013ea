"""Attention masks of transformers' models, made without a wait of the host for the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any

import torch


@contextlib.contextmanager
def masks_without_waits() -> Iterator[None]:
    """Make models create every attention mask, without checks whether it hides anything.

    It can also decorate a function. The library drops a mask that hides nothing, and for that check
    the host waits for the device at each pass. On a CPU, where the check is free, nothing changes.
    """
    from transformers import masking_utils

    known = masking_utils.ALL_MASK_ATTENTION_FUNCTIONS
    boolean, additive = known["sdpa"], known["eager"]
    unasked = {"sdpa": partial(_boolean, boolean), "eager": partial(_additive, additive, boolean)}
    with replaced(known, unasked):
        yield


_KEEP = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
"""Arguments of the library for not dropping a mask."""


def _boolean(make: Callable[..., Any], **options: Any) -> Any:
    """Return a mask as ``make`` makes it, true at visible positions."""
    return make(**options) if _is_on_cpu(options) else make(**options | _KEEP)


def _additive(
    make: Callable[..., Any], boolean: Callable[..., Any], *, dtype: torch.dtype, **options: Any
) -> Any:
    """Return a mask as ``make`` makes it, zero at visible positions.

    Some versions of the library copy that zero from the host at each pass.
    """
    if _is_on_cpu(options):
        return make(dtype=dtype, **options)
    hidden = ~boolean(**options | _KEEP)
    return torch.zeros_like(hidden, dtype=dtype).masked_fill(hidden, torch.finfo(dtype).min)


def _is_on_cpu(options: Mapping[str, Any]) -> bool:
    return torch.device(options["device"]).type == "cpu"


@contextlib.contextmanager
def replaced(
    known: MutableMapping[str, Any], functions: Mapping[str, Callable[..., Any]]
) -> Iterator[None]:
    """Replace functions of the library inside the block by others."""
    before = {name: known[name] for name in functions}
    known.update(functions)
    try:
        yield
    finally:
        known.update(before)
