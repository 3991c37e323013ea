"""Seconds of several ways to do the same work, which take turns in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch


def seconds_of(work: Callable[[], Any], device: torch.device | str = "cpu") -> float:
    """Wall-clock seconds until the device, too, has done its part of the work."""
    wait = torch.cuda.synchronize if torch.device(device).type == "cuda" else _nothing
    wait()
    started = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - started


def _nothing() -> None:
    pass


def medians_in_turns(
    ways: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device | str = "cpu"
) -> dict[str, float]:
    """Median seconds of each way; all take turns, after one round that warms up."""
    for work in ways.values():
        work()
    seconds = [{name: seconds_of(work, device) for name, work in ways.items()}
               for _ in range(rounds)]  # fmt: skip
    return {name: statistics.median(row[name] for row in seconds) for name in ways}
