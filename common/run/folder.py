"""Paths inside a run's and a plan's folder, and writing of complete files.

A file is written next to its target, synced and renamed. A reader, or a run that is resumed after a
kill or a power cut, therefore finds the old file or the new one and never a part. Folders are
written likewise. Line files are appended to; an incomplete last line is recognised and ignored.
A process whose lease of a run's folder was taken over replaces nothing there.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from common.errors import UserError, printable
from common.files.documents import json_value
from common.files.fsync import make_folder, sync, sync_folder, sync_tree
from common.files.no_space import explaining_no_space
from common.files.temp_files import beside_path
from common.run.lease import check_lease
from common.run.record_schemas import STATUS, DamagedError, why_unfit

if TYPE_CHECKING:
    import pandas as pd
    from pydantic import TypeAdapter


@contextmanager
def replacing(path: Path, need: int | None = None) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces ``path`` when the block ends without an error.

    Its bytes are on the disk then, and its name once the folder is synced. ``need`` is the number
    of bytes that will be written, if known.

    Raises:
        NoSpace: it does not fit; the old file is unchanged.
        LeaseLost: another process makes the run now; the file is that one's.
    """
    beside = beside_path(path)
    with explaining_no_space(path, need):
        make_folder(path.parent)
        try:
            with beside.open("wb") as file:
                yield file
                file.flush()
                sync(file.fileno())
            check_lease(path)
            beside.replace(path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise


@contextmanager
def replacing_folder(path: Path, need: int | None = None) -> Iterator[Path]:
    """Make an empty folder that replaces ``path`` when the block ends, as `replacing` does.

    Its name is on the disk then as well.
    """
    beside = beside_path(path)
    made = beside / path.name
    with explaining_no_space(path, need):
        shutil.rmtree(beside, ignore_errors=True)
        make_folder(made)
        try:
            yield made
            sync_tree(made)
            check_lease(path)
            shutil.rmtree(path, ignore_errors=True)
            made.replace(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path``, completely or not at all."""
    content = text.encode()
    with replacing(path, len(content)) as file:
        file.write(content)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` to ``path`` as indented JSON, completely or not at all."""
    # What is no character stands there as JSON's own escape for it.
    write_text(path, printable(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write ``table`` to ``path`` as CSV or parquet, by its suffix, completely or not at all."""
    options: dict[str, Any] = {} if path.suffix == ".csv" else {"write_page_checksum": True}
    save: Callable[..., None] = table.to_csv if path.suffix == ".csv" else table.to_parquet
    with replacing(path) as file:
        save(file, index=False, **options)


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return a table that `write_table` has written to a parquet file.

    Raises:
        DamagedError: the file is missing or incomplete, or its first columns are not ``columns``.
        OSError: the disk cannot read it.
    """
    import pyarrow.parquet

    try:
        file = pyarrow.BufferReader(path.read_bytes())
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing") from None
    try:
        table = pyarrow.parquet.read_table(file, page_checksum_verification=True)
        found: pd.DataFrame = table.to_pandas()
    except (OSError, ValueError, TypeError, pyarrow.ArrowException) as error:
        raise DamagedError(f"{path} cannot be read: {str(error).partition(chr(10))[0]}") from None
    if list(found.columns[: len(columns)]) != list(columns):
        raise DamagedError(f"{path} has the columns {', '.join(map(str, found.columns))}")
    return found


def read_json(path: Path) -> Any:
    """Return the JSON value in ``path``; None if there is no such file.

    Raises:
        ValueError: it is no JSON, or it is nested too deeply.
    """
    try:
        return json_value(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_record(path: Path, schema: TypeAdapter[Any]) -> dict[str, Any] | None:
    """Return the record in ``path``; None if there is no such file.

    Raises:
        DamagedError: it does not fit its schema.
        UserError: the disk cannot read it.
    """
    try:
        found = read_json(path)
        problem = None if found is None else why_unfit(found, schema)
    except ValueError as error:
        problem = str(error)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if problem is not None:
        raise DamagedError(f"{path} is damaged ({problem})")
    record: dict[str, Any] | None = found
    return record


def read_json_lines(path: Path, schema: TypeAdapter[Any] | None = None) -> list[dict[str, Any]]:
    """Return the complete lines of ``path``, in order; none if there is no such file.

    Reading ends at the first incomplete line, which a kill while writing leaves, and at the first
    line that does not fit a given schema.
    """
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_bytes().splitlines(keepends=True):
        try:
            row = json_value(line)
        except ValueError:
            break
        is_fit = schema is None or why_unfit(row, schema) is None
        if not line.endswith(b"\n") or not isinstance(row, dict) or not is_fit:
            break
        rows.append(row)
    return rows


_LONGEST_END = 2**20
"""Number of bytes at a file's end that contain at least one whole line."""


def read_last_json_line(path: Path) -> dict[str, Any] | None:
    """Return the last complete line of ``path``; None if there is none.

    Only the file's end is read.
    """
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, os.SEEK_END) - _LONGEST_END)
            file.seek(start)
            lines = file.read().splitlines(keepends=True)
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        with suppress(ValueError):
            row = json_value(line)
            if line.endswith(b"\n") and isinstance(row, dict):
                return row
    return None


@dataclass(frozen=True)
class RunFolder:
    """Paths of all files of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """Path of the run's configuration, with defaults filled in."""
        return self.path / "config.json"

    @property
    def status(self) -> Path:
        """Path of status, attempt, process, host, device, times and the end of a traceback."""
        return self.path / "status.json"

    @property
    def provenance(self) -> Path:
        """Path of commit, uncommitted changes, package versions, seeds, threads and command."""
        return self.path / "provenance.json"

    @property
    def metrics(self) -> Path:
        """Path of one JSON object per epoch, appended as it happens."""
        return self.path / "metrics.jsonl"

    @property
    def summary(self) -> Path:
        """Path of the score, the weights' epochs, reason of an early end, last and best metrics."""
        return self.path / "summary.json"

    @property
    def log(self) -> Path:
        """Path of the run's log."""
        return self.path / "log.txt"

    @property
    def checkpoints(self) -> Path:
        """Folder of model and training states."""
        return self.path / "checkpoints"

    @property
    def plots(self) -> Path:
        """Folder of one picture per metric."""
        return self.path / "plots"

    def table(self, name: str) -> Path:
        """Return the path of a table of the run, ``<name>.parquet``."""
        return self.path / f"{name}.parquet"

    def read_status(self) -> dict[str, Any]:
        """Return the content of ``status.json``.

        It is empty before the first attempt, and if the file is damaged.
        """
        try:
            return read_record(self.status, STATUS) or {}
        except UserError:
            return {}

    def status_damage(self) -> str | None:
        """Return the damage of ``status.json``; None if there is none."""
        try:
            read_record(self.status, STATUS)
        except UserError as error:
            return str(error)
        return None


@dataclass(frozen=True)
class PlanFolder:
    """Paths of all files of one plan."""

    path: Path

    @property
    def plan(self) -> Path:
        """Path of the plan as it was run, with the command line's changes."""
        return self.path / "plan.json"

    @property
    def index(self) -> Path:
        """Path of the index, one row per run of the plan."""
        return self.path / "index.csv"

    @property
    def figures(self) -> Path:
        """Folder of the plan's figures."""
        return self.path / "figures"

    @property
    def report(self) -> Path:
        """Path of the page about the plan and its runs."""
        return self.path / "report.html"

    @property
    def replaced(self) -> Path:
        """Folder of runs that ``--fresh`` moved away."""
        return self.path / "replaced"
