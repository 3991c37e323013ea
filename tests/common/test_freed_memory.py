"""Memory that is freed stays with a process that computes."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_FREEING = """
import ctypes, resource
from common.process.freed_memory import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def faults_of_a_step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc({size}) for _ in range(4)]
    for block in blocks:
        ctypes.memset(block, 1, {size})
    for block in blocks:
        libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def later():
    return [faults_of_a_step() for _ in range(5)][-1]

as_it_was = later()
keep_freed_memory()
print(as_it_was, later())
"""


def _faults(size: int) -> tuple[int, int]:
    """Page faults of a step that takes and frees four blocks, as it was and with memory kept."""
    code = _FREEING.format(size=size)
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    before, after = map(int, done.stdout.split())
    return before, after


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_freed_blocks_are_taken_again_without_page_faults() -> None:
    before, after = _faults(24 * 2**20)
    assert before > 10_000 and after < 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_very_large_blocks_are_given_back() -> None:
    before, after = _faults(40 * 2**20)
    assert before > 10_000 and after > 10_000
