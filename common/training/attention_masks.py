"""The masks of transformers' models, made without a wait of the host for the device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from typing import Any

import torch


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
    with replaced(known, unasked):
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
def replaced(
    known: MutableMapping[str, Any], functions: Mapping[str, Callable[..., Any]]
) -> Iterator[None]:
    """A block in which the library knows other functions by these names."""
    before = {name: known[name] for name in functions}
    known.update(functions)
    try:
        yield
    finally:
        known.update(before)
