"""Memory that is freed stays with a process that computes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")

_FREEING = """
import ctypes, resource
from common.process.freed_memory import keep_freed_memory

libc = ctypes.CDLL(None)
libc.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: a fault is one page, whatever the machine has set
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

_OPTIONS = {
    "MALLOC_TRIM_THRESHOLD_": "1000000",
    "MALLOC_MMAP_THRESHOLD_": "1000000",
    "MALLOC_TOP_PAD_": "1000000",
    "MALLOC_MMAP_MAX_": "1000",
    "GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1000000",
}
"""Variables with which a user has blocks given back."""


def _faults(size: int, **variables: str) -> tuple[int, int]:
    """Page faults of a step that takes and frees four blocks, as it was and with memory kept.

    ``variables`` are the user's own.
    """
    code = _FREEING.format(size=size)
    environment = {key: value for key, value in os.environ.items() if key not in _OPTIONS}
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**environment, **variables},
    )
    before, after = map(int, done.stdout.split())
    return before, after


def test_freed_blocks_are_taken_again_without_page_faults() -> None:
    before, after = _faults(24 * 2**20)
    assert before > 10_000 and after < 100


def test_very_large_blocks_are_given_back() -> None:
    before, after = _faults(40 * 2**20)
    assert before > 10_000 and after > 10_000


@pytest.mark.parametrize("name", _OPTIONS)
def test_users_own_options_stand(name: str) -> None:
    before, after = _faults(24 * 2**20, **{name: _OPTIONS[name]})
    assert before > 10_000 and after > 10_000


def test_other_tunables_of_glibc_say_nothing_about_freed_memory() -> None:
    _, after = _faults(24 * 2**20, GLIBC_TUNABLES="glibc.malloc.arena_max=2")
    assert after < 100
