"""A plan of many runs costs as much per run as one of few."""

from __future__ import annotations

import gc
import os
import re
import stat
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from types import FrameType
from typing import Any

import pytest

from tests.benchmarks.many_runs import plan_of
from tests.conftest import PROJECT, Workplace


class Lines:
    """Counter of the lines of Python that are executed inside a block."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Lines:
        gc.collect()  # what earlier tests have left would be finalized in the block, by Python
        gc.disable()
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)
        gc.enable()

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        self.count += event == "line"
        return self._trace


@pytest.fixture(autouse=True)
def _no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is done once in some seconds is done once, however slow the machine is."""
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)


@pytest.fixture
def lines_of(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lines that the program executes for a plan of as many runs as are asked for."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # seconds, and no lines

    def _lines_of(count: int, *flags: str, name: str = "of") -> int:
        plan = workplace.write_plan(f"{name}_{count}", **plan_of(count))
        with Lines() as lines:
            assert workplace.run_plan(plan, *flags).status == 0
        return lines.count

    # What is done once in a process (modules loaded, expressions compiled, classes compared) counts
    # for nobody. What earlier tests have left compiled would come and go.
    re.purge()
    for flags in COMMANDS:
        _lines_of(SIZES[0], *flags, name="first")
    return _lines_of


SIZES = (50, 70, 90)
"""Numbers of runs, above the rows that a table shows."""
COMMANDS: list[list[str]] = [["--dry_run"], [], ["--status"], []]
"""Flags of commands in turn: runs are made, and then found done."""


def test_the_cost_of_a_run_does_not_grow_with_their_number(lines_of: Any) -> None:
    for flags in COMMANDS:
        few, more, most = (lines_of(size, *flags) for size in SIZES)
        assert most - more == pytest.approx(more - few, rel=0.02), flags


def test_a_run_syncs_each_file_once_and_at_most_ten_times(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: Counter[tuple[int, int, int]] = Counter()
    folders = 0
    count = 20

    kept = ExitStack()  # so that no other file gets the number of one that is gone

    def fsync(descriptor: int) -> None:
        nonlocal folders
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            folders += 1
        else:
            kept.callback(os.close, os.dup(descriptor))
            files[found.st_ino, found.st_mtime_ns, found.st_size] += 1

    monkeypatch.setattr("os.fsync", fsync)
    with kept:
        assert workplace.run_plan(workplace.write_plan(**plan_of(count))).status == 0
    of_plan = 10  # its folders, its own files and the indices
    assert set(files.values()) == {1}
    assert 5 * count <= files.total() <= 5 * count + of_plan  # what a run writes, status twice
    assert files.total() + folders <= 8 * count + of_plan


def test_runs_that_need_no_torch_load_none(workplace: Workplace) -> None:
    plan = workplace.write_plan(**plan_of(2))
    code = f"""
import run_plan, sys
status = run_plan.main(["--plan_config_path", {str(plan)!r}])
sys.exit(status or str({{"torch", "numpy", "pandas", "transformers"}} & sys.modules.keys()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=workplace.path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "set()"
