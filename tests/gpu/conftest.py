"""What the parts share: the device, how large to be, and where findings go."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.gpu.findings import Error, Findings, LeftOut
from tests.gpu.running import DEVICE, FOUND, STACK

if TYPE_CHECKING:
    import torch


def _findings_path(tmp: Path) -> Path:
    """The file that the check reads; one of its own where a part is run by hand."""
    return Path(os.environ.get(FOUND) or tmp / "findings.jsonl")


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device to check."""
    import torch

    kind = os.environ.get(DEVICE) or ("cuda" if torch.cuda.is_available() else "")
    if not kind:
        pytest.skip(f"needs a GPU, or {DEVICE}=cpu to be made in small")
    return torch.device(kind, 0) if kind == "cuda" else torch.device(kind)


@pytest.fixture(scope="session")
def full(device: torch.device) -> bool:
    """Whether a part has its full size: on a GPU; on a CPU all is small."""
    return device.type == "cuda"


@pytest.fixture
def findings(device: torch.device, tmp_path: Path) -> Iterator[Findings]:
    """Where a test notes its checks and speeds; it fails at its end if a check did."""
    found = Findings(_findings_path(tmp_path))
    yield found
    failed = [f"{c.name}: expected {c.expected} {c.tolerance}, found {c.found}"
              for c in found.failed]  # fmt: skip
    assert not failed, "; ".join(failed)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Threads are as the check's runner gives them: parts are processes of their own."""


def pytest_configure() -> None:
    """Has a signal write where this process is."""
    if FOUND in os.environ:
        place = Path(os.environ[FOUND]).with_suffix(".stack")
        faulthandler.register(STACK, file=place.open("w", encoding="utf-8"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Notes what ends a test before its checks do."""
    report = yield
    path = os.environ.get(FOUND)
    if path and report.skipped:
        Findings(Path(path)).add(LeftOut(item.name, report.longrepr[2].removeprefix("Skipped: ")))
    elif path and report.failed and report.when != "teardown":
        Findings(Path(path)).add(Error(item.name, report.longreprtext[-3000:]))
    return report


@pytest.fixture(autouse=True, scope="module")
def _peak_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Notes the most GPU memory that the part's own process held."""
    yield
    path, torch = os.environ.get(FOUND), sys.modules.get("torch")
    if path and torch and torch.cuda.is_initialized():
        peak = max(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count()))
        Findings(Path(path)).number("peak memory of the part's process", peak / 2**30, "GiB")
