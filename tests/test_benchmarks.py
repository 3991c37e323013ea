"""What the benchmarks measure."""

from __future__ import annotations

import subprocess
import sys

from tests.benchmarks.peak_memory import memory_of
from tests.conftest import PROJECT

MEBI = 2**20
ALONE = f"""
from tests.benchmarks.peak_memory import memory_of
print(memory_of(lambda: bytearray(b"x") * {60 * MEBI})[0])
"""


def test_memory_that_was_held_before_is_not_counted() -> None:
    def hold(mebi: int) -> None:
        bytearray(b"x") * (mebi * MEBI)

    assert 195 <= memory_of(lambda: hold(200))[0] / MEBI < 220
    assert 55 <= memory_of(lambda: hold(60))[0] / MEBI < 80


def test_memory_of_a_parent_is_not_counted() -> None:
    held = bytearray(b"x") * (300 * MEBI)
    found = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=PROJECT, capture_output=True, check=True
    )
    assert 55 <= int(found.stdout) / MEBI < 80
    del held
