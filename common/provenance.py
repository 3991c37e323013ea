"""Where a result comes from: commit, uncommitted changes, versions, seeds, threads, command."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

_PROJECT = Path(__file__).resolve().parent.parent
_PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "pandas", "pydantic")
_LARGEST_DIFF = 1_000_000  # characters


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_PROJECT), *arguments], capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


@functools.cache
def of_this_program() -> dict[str, Any]:
    """Commit, uncommitted changes, files git does not know, versions; None for what is not had."""
    commit, diff = _git("rev-parse", "HEAD"), _git("diff", "HEAD")
    untracked = _git("ls-files", "--others", "--exclude-standard")
    return {
        "commit": commit.strip() if commit else None,
        "diff": diff[:_LARGEST_DIFF] if diff else None,
        "untracked": untracked.splitlines() if untracked else None,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": {package: _version(package) for package in _PACKAGES},
    }
