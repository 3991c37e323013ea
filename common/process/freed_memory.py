"""Memory that is freed and stays with the process."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Mapping

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 2**25
"""Bytes of the largest block that is kept: the limit up to which glibc adapts its own to blocks
that it has seen freed."""
_NEVER = 2**31 - 1
_OPTIONS = ("trim_threshold", "mmap_threshold", "top_pad", "mmap_max")
"""Options of which a user's own stops glibc from adapting any."""


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for what is allocated next, if users have not set what it keeps.

    A training step frees what the next one takes again, such as gradients. glibc gives what is free
    at the end of its memory back to the kernel, which then clears each page anew: a fifth of the
    time of a step of a small language model. Blocks of more than 32 MiB are given back as before,
    so that few of them cannot hold many times their size. With another C library nothing changes.
    """
    if platform.libc_ver()[0] != "glibc" or _is_set_in(os.environ):
        return
    set_option = ctypes.CDLL(None).mallopt
    set_option(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    set_option(_M_TRIM_THRESHOLD, _NEVER)


def _is_set_in(environment: Mapping[str, str]) -> bool:
    """Return whether the user has set one of the options, in either way that glibc has for it."""
    tunables = environment.get("GLIBC_TUNABLES", "")
    return any(
        f"MALLOC_{option.upper()}_" in environment or f"glibc.malloc.{option}=" in tunables
        for option in _OPTIONS
    )
