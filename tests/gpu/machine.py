"""What the check ran on, found without opening the GPU."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = ("torch", "torchvision", "transformers", "accelerate", "peft", "trl", "numpy")


def gpus() -> list[str]:
    """Name, driver and memory of each GPU, as nvidia-smi tells them; none where it is missing."""
    fields = "name,driver_version,memory.total"
    try:
        answer = subprocess.run(
            ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in answer.stdout.splitlines() if line.strip()]


def machine(device: str) -> dict[str, str]:
    """The machine, by the name of each fact."""
    facts = {"device": "; ".join(gpus()) if device == "cuda" else _processor()}
    facts["cores"] = str(len(os.sched_getaffinity(0)))
    facts["system"] = platform.platform()
    facts["python"] = platform.python_version()
    return facts | {name: _version(name) for name in _PACKAGES}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"CPU ({names[0] if names else platform.machine()})"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
