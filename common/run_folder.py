"""Every path inside a run's and a plan's folder, and how files get there whole.

A file is written beside its target, synced and renamed, so that a reader, or a run that continues
after a kill or a power cut, finds the old file or the new one and never a half. Folders likewise.
Line files are appended to; a half last line is recognised and left out.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import IO, TYPE_CHECKING, Any

from common.durable import make_folder, sync, sync_folder, sync_tree
from common.errors import printable
from common.no_space import telling_of_space

if TYPE_CHECKING:
    import pandas as pd


@contextmanager
def replacing(path: Path, need: int | None = None) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of ``path`` when the block ends without an error.

    Its bytes are on the disk then, and its name once the folder is synced. ``need`` are the bytes
    that will be written, if that is known.

    Raises:
        NoSpace: it does not fit; what was there is still there.
    """
    beside = _beside(path)
    with telling_of_space(path, need):
        make_folder(path.parent)
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                sync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, need: int | None = None) -> Iterator[Path]:
    """An empty folder of the same name that takes the place of ``path``, like `replacing`.

    Its name is on the disk then, too.
    """
    beside = _beside(path)
    made = beside / path.name
    with telling_of_space(path, need):
        shutil.rmtree(beside, ignore_errors=True)
        make_folder(made)
        try:
            yield made
            sync_tree(made)
            shutil.rmtree(path, ignore_errors=True)
            made.replace(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        sync_folder(path.parent)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def write_text(path: Path, text: str) -> None:
    """Puts ``text`` into ``path``, whole or not at all."""
    content = text.encode()
    with replacing(path, len(content)) as file:
        file.write(content)


def append_text(path: Path, text: str) -> None:
    """Puts ``text`` behind what stands in ``path``; it is on the disk then."""
    with telling_of_space(path, len(text.encode())), path.open("a", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        sync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Puts ``value`` into ``path`` as indented JSON, whole or not at all."""
    # What is no character stands there as JSON's own escape for it.
    write_text(path, printable(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Puts ``table`` into ``path`` as CSV or parquet, as its suffix says, whole or not at all."""
    save: Callable[..., None] = table.to_csv if path.suffix == ".csv" else table.to_parquet
    with replacing(path) as file:
        save(file, index=False)


def read_json(path: Path) -> Any:
    """The JSON value in ``path``; None where there is no such file.

    Raises:
        ValueError: it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of ``path``, in order; none where there is no such file.

    Reading ends at the first line that is not whole, which is what a kill while writing leaves.
    """
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = json.loads(line)
        except ValueError:
            break
        if not line.endswith(b"\n") or not isinstance(row, dict):
            break
        rows.append(row)
    return rows


_LONGEST_END = 2**20
"""Bytes at the end of a file of lines that hold at least one of them."""


def read_last_json_line(path: Path) -> dict[str, Any] | None:
    """The last whole line of ``path``; None where there is none. Only the file's end is read."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _LONGEST_END)
            file.seek(start)
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        with suppress(ValueError):
            row = json.loads(line)
            if line.endswith(b"\n") and isinstance(row, dict):
                return row
    return None


_STATUS_TYPES: dict[str, type | tuple[type, ...]] = {
    "status": str,
    "fingerprint": str,
    "attempt": int,
    "pid": int,
    "pid_started": (int, float),
    "host": str,
    "seconds": (int, float),
    "score": (int, float, NoneType),
    "reason": (str, NoneType),
    "no_space": bool,
}
"""The entries of a ``status.json`` that are computed with or shown."""


def _is_sound(status: dict[str, Any]) -> bool:
    """Whether the entries that stand in ``status`` are what this program writes."""
    return all(
        isinstance(status[key], kind) for key, kind in _STATUS_TYPES.items() if key in status
    )


@dataclass(frozen=True)
class RunFolder:
    """Where one run keeps everything it leaves."""

    path: Path

    @property
    def config(self) -> Path:
        """The run's configuration, defaults filled in."""
        return self.path / "config.json"

    @property
    def status(self) -> Path:
        """Status, attempt, process, host, device, times and the end of a traceback."""
        return self.path / "status.json"

    @property
    def provenance(self) -> Path:
        """Commit, uncommitted changes, package versions, seeds, threads and command."""
        return self.path / "provenance.json"

    @property
    def metrics(self) -> Path:
        """One JSON object per epoch, appended as it happens."""
        return self.path / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        """Score, epochs the weights have seen, why the fit ended early, last and best metrics."""
        return self.path / "summary.json"

    @property
    def log(self) -> Path:
        """What the run said."""
        return self.path / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """The folder of model and training states."""
        return self.path / "checkpoints"

    @property
    def plots(self) -> Path:
        """The folder of one picture per metric."""
        return self.path / "plots"

    def table(self, name: str) -> Path:
        """A table of the run, ``<name>.parquet``."""
        return self.path / f"{name}.parquet"

    def read_status(self) -> dict[str, Any]:
        """The content of ``status.json``; empty before the first attempt, and where broken."""
        try:
            found = read_json(self.status)
        except ValueError:
            return {}
        return found if isinstance(found, dict) and _is_sound(found) else {}


@dataclass(frozen=True)
class PlanFolder:
    """Where the runs of one plan stand."""

    path: Path

    @property
    def plan(self) -> Path:
        """The plan as it was run, with what the command line changed."""
        return self.path / "plan.json"

    @property
    def index(self) -> Path:
        """One row per run of the plan."""
        return self.path / "index.csv"

    @property
    def figures(self) -> Path:
        """The folder of the plan's figures."""
        return self.path / "figures"

    @property
    def replaced(self) -> Path:
        """The folder of runs that ``--fresh`` put aside."""
        return self.path / "replaced"

    @property
    def lock(self) -> Path:
        """Held by the process that runs the plan."""
        return self.path / ".lock"
