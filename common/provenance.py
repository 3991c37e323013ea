"""Where a result comes from: commit, uncommitted changes, versions, seeds, threads, command."""

from __future__ import annotations

import functools
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.run_folder import RunFolder, read_json, write_json
from common.status import now

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


def record(
    folder: RunFolder, command: str, seeds: Mapping[str, int | None], threads: int
) -> dict[str, Any]:
    """Writes down an attempt at a run; gives the whole record.

    A run goes on with the seeds and threads of its first attempt, whatever is given here. The
    first attempt's record is the file's top level; others follow under ``"later_attempts"``.

    Raises:
        UserError: there is a record, but it cannot be read.
    """
    from common.seeding import draw_seed

    attempt = {"command": command, "started": now(), **of_this_program()}
    whole = _read(folder.provenance)
    if whole is None:
        root = seeds["random_seed"]
        drawn = {**seeds, "random_seed": draw_seed() if root is None else root}
        whole = {"seeds": drawn, "threads": threads, **attempt}
    else:
        whole["later_attempts"] = [*whole.get("later_attempts", []), attempt]
    write_json(folder.provenance, whole)
    return whole


def threads_of(folder: RunFolder) -> int | None:
    """The threads that the run computes with; None where no attempt has settled that."""
    try:
        found = _read(folder.provenance)
    except UserError:
        return None
    return None if found is None else int(found["threads"])


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = read_json(path)
    except ValueError:
        found = "broken"
    if found is None or (isinstance(found, dict) and {"seeds", "threads"} <= found.keys()):
        return found
    raise UserError(
        f"{path} cannot be read, so the run's seeds and threads are not known; --fresh makes the "
        "run anew"
    )
