"""Memory that is freed and stays with the process."""

from __future__ import annotations

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 2**25
"""Bytes of the largest block that is kept: the limit up to which glibc adapts its own to blocks
that it has seen freed."""
_NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for what is allocated next.

    A training step frees what the next one takes again, such as gradients. glibc gives what is free
    at the end of its memory back to the kernel, which then clears each page anew: a fifth of the
    time of a step of a small language model. Blocks of more than 32 MiB are given back as before,
    so that few of them cannot hold many times their size. With another C library nothing changes.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    set_option = ctypes.CDLL(None).mallopt
    set_option(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
    set_option(_M_TRIM_THRESHOLD, _NEVER)
