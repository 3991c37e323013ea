"""Provenance of a result: commit, uncommitted changes, versions, seeds, threads, command."""

from __future__ import annotations

import functools
import logging
import platform
import secrets
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from common.errors import UserError
from common.run.folder import RunFolder, read_record, write_json
from common.run.record_schemas import PROVENANCE, DamagedError
from common.run.status import now

log = logging.getLogger(__name__)

_PROJECT = Path(__file__).resolve().parents[2]
_PACKAGES = (
    "torch", "torchvision", "numpy", "scikit-learn", "pandas", "pydantic",
    "transformers", "datasets", "tokenizers", "peft", "accelerate", "huggingface-hub",
)  # fmt: skip
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
    """Return commit, uncommitted changes, untracked files and versions.

    None for what is unknown.
    """
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
    """Write an attempt at a run to its provenance; return the whole record.

    A run is resumed with the seeds and threads of its first attempt, whatever is given here. The
    first attempt's record is the file's top level; others follow under ``"later_attempts"``.

    A damaged record is written anew if its seeds and threads are also recorded elsewhere.

    Raises:
        UserError: there is a record, but it is damaged and cannot be made again.
    """
    attempt = {"command": command, "started": now(), **of_this_program()}
    try:
        whole = read_record(folder.provenance, PROVENANCE)
    except DamagedError as error:
        whole = {"seeds": dict(seeds), "threads": _threads_told(folder, seeds, error), **attempt}
        log.warning("%s; it is made again from the plan's seeds and the threads in %s", error,
                    folder.status)  # fmt: skip
    else:
        if whole is None:
            whole = {"seeds": _with_root(seeds), "threads": threads, **attempt}
        else:
            whole["later_attempts"] = [*whole.get("later_attempts", []), attempt]
    write_json(folder.provenance, whole)
    return whole


def record_hub(folder: RunFolder, commits: Mapping[str, str]) -> None:
    """Record the commits of the hub, by hub id, that the last attempt has read.

    A damaged record is not changed.
    """
    try:
        whole = read_record(folder.provenance, PROVENANCE) if commits else None
    except UserError:
        whole = None
    if whole is not None:
        [whole, *whole.get("later_attempts", [])][-1]["hub"] = dict(commits)
        write_json(folder.provenance, whole)


def _with_root(seeds: Mapping[str, int | None]) -> dict[str, int | None]:
    """Return the seeds; the root is drawn if none is given."""
    root = seeds["random_seed"]
    return {**seeds, "random_seed": draw_seed() if root is None else root}


def _threads_told(folder: RunFolder, seeds: Mapping[str, int | None], damage: DamagedError) -> int:
    """Return the threads of the earlier attempts, from their status.

    Raises:
        UserError: the status has none, or the seed was drawn, so that only the record had it.
    """
    threads = folder.read_status().get("threads")
    if seeds["random_seed"] is not None and threads is not None:
        return int(threads)
    lost = "seed, which was drawn, is" if seeds["random_seed"] is None else "threads are"
    raise UserError(
        f"{damage}, and the run's {lost} not known; --fresh repeats the run from the start"
    )


def threads_of(folder: RunFolder) -> int | None:
    """Return the threads that the run computes with; None if no attempt has fixed them."""
    try:
        found = read_record(folder.provenance, PROVENANCE)
    except UserError:
        found = folder.read_status()
    return None if found is None else found.get("threads")


def draw_seed() -> int:
    """Return a fresh seed from the system's entropy."""
    return secrets.randbelow(2**31)
