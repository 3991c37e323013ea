"""Who holds a GPU: as nvidia-smi lists it, and as open device files tell it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.gpu.commands import Command

_OF_CUDA = "/dev/nvidia-uvm"
"""A process has it open as soon as CUDA has started in it; a look through nvidia-smi's library
does not open it."""


def listed() -> dict[int, float]:
    """MiB of GPU memory by process, as nvidia-smi lists them.

    In a container the numbers may be those of processes outside it, or the list may be empty.
    """
    answer = subprocess.run(
        ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    found: dict[int, float] = {}
    for line in answer.stdout.splitlines():
        pid, _, memory = line.partition(",")
        if pid.strip().isdigit():
            used = memory.strip()
            found[int(pid)] = float(used) if used.replace(".", "").isdigit() else float("nan")
    return found


def uuids() -> list[str]:
    """The ids of the GPUs."""
    answer = subprocess.run(["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"],
                            capture_output=True, text=True, timeout=30, check=True)  # fmt: skip
    return answer.stdout.split()


def has_cuda(pid: int, file: str = _OF_CUDA) -> bool:
    """Whether CUDA has started in a process of this user's."""
    with suppress(OSError):  # it is gone
        return any(str(fd.readlink()) == file for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def can_be_told() -> bool:
    """Whether this machine tells them: of this process, which has used CUDA, but not of a counter.

    In a sandbox device files may be others, or processes have numbers that nvidia-smi does not use.
    """
    counts = """if True:
        import os, torch
        from tests.gpu.holders import has_cuda
        torch.cuda.device_count()
        raise SystemExit(9 if has_cuda(os.getpid()) else 0)"""
    counter = subprocess.run([sys.executable, "-c", counts], check=False)
    return has_cuda(os.getpid()) and counter.returncode == 0


class Watch:
    """Looks at a command's processes while it runs: which hold a GPU, and for which runs."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self.runner_has_cuda = False
        self.runner_is_listed = False
        self.peak = 0.0
        """Most MiB that nvidia-smi listed for the command's processes together."""
        self.longest_idle = 0.0
        """Most seconds that a process held a GPU with no run on it."""
        self._idle_since: dict[int, float] = {}
        self._seen: set[int] = set()

    def look(self) -> bool:
        """Looks once; gives whether the command goes on."""
        runner, memory = self._command.process.pid, listed()
        holding = {pid for pid in _descendants(runner) if has_cuda(pid) or pid in memory}
        self._seen |= holding
        self.runner_has_cuda |= has_cuda(runner)
        self.runner_is_listed |= runner in memory
        self.peak = max(self.peak, sum(memory[pid] for pid in holding & memory.keys()))
        self._note_idle(holding - self._with_a_run(), time.monotonic())
        return self._command.process.poll() is None

    def holding(self) -> set[int]:
        """Processes of the command's that hold a GPU now."""
        return {pid for pid in _descendants(self._command.process.pid) if has_cuda(pid)}

    def left_over(self) -> set[int]:
        """Processes that were seen to hold a GPU, and still do."""
        return {pid for pid in self._seen if has_cuda(pid)}

    def _with_a_run(self) -> set[int]:
        found = (folder.read_status() for folder in self._command.runs().values())
        return {status["pid"] for status in found if status.get("status") == "running"}

    def _note_idle(self, idle: set[int], now: float) -> None:
        self._idle_since = {pid: self._idle_since.get(pid, now) for pid in idle}
        seconds = (now - since for since in self._idle_since.values())
        self.longest_idle = max(self.longest_idle, *seconds, 0.0)


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
