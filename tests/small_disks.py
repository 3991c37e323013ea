"""Disks and limits on file sizes that a few bytes reach."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Inside the block no file becomes larger, in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def brief_provenance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what is changed in the checkout, which may be much."""
    monkeypatch.setattr("common.run.provenance.of_this_program", dict)


class NoMountError(Exception):
    """Nothing can be mounted here."""


@contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[None]:
    """Inside the block something is mounted over the folder, with these arguments of ``mount``."""
    try:
        subprocess.run(["mount", *arguments, str(folder)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoMountError(f"nothing can be mounted here ({error})") from None
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def disk_of(folder: Path, megabytes: int) -> Iterator[None]:
    """Inside the block the folder is a disk of its own."""
    with mounted(folder, "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs"):
        yield


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Inside the block nothing below the folder can be made, or opened to be written, even by root.

    Files that are open already stay as they are.
    """
    with mounted(folder, "--bind", str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with ExitStack() as stack:
        try:
            stack.enter_context(disk_of(folder, 1))
        except NoMountError as error:
            pytest.skip(str(error))
        yield folder
