"""Local data files: the file of a split, and its rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from common.errors import UserError
from common.files.surrogates import why_not_utf8
from grue.tasks.sources.json_rows import json_document, json_lines
from grue.tasks.sources.raw_rows import PlacedRow, RawRow, check_columns
from grue.tasks.task import Split

STEMS: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("validation", "val", "dev"),
    "test": ("test",),
}
"""Names of a split's file in a folder, without the suffix."""
TABLES = (".jsonl", ".json", ".csv", ".parquet")
"""Suffixes of the files that `read_rows` reads as tables."""
TEXT = "text"
"""Column of a plain text file's lines."""

_LONGEST_CELL = 2**31 - 1


def at_path(path: str | Path) -> str:
    """Return the beginning of messages about a file or folder that the key leads to."""
    return f"'datapool.args.path' = '{path}'"


def path_error(path: str | Path, message: str) -> UserError:
    """Return the error of a file or folder that ``datapool.args.path`` leads to."""
    return UserError(f"{at_path(path)}: {message}")


def split_file(path: str, split: Split, suffixes: Sequence[str] = TABLES) -> Path:
    """Return the file with the rows of a split; a path that is a file holds the training split.

    Raises:
        UserError: the folder has no file of the split, or more than one.
    """
    place = Path(path)
    if place.is_file():
        return _single_file(place, split, suffixes)
    if not place.is_dir():
        raise path_error(path, "there is no such file or folder")
    found = _in_folder(place, split, suffixes)
    if not found:
        here = ", ".join(sorted(file.name for file in place.iterdir())) or "nothing"
        raise path_error(path, f"the folder holds no file for the split '{split}': expected "
                         f"{_expected(split, suffixes)}; found {here}")  # fmt: skip
    if len(found) > 1:
        names = " and ".join(file.name for file in found)
        raise path_error(path, f"both {names} hold the split '{split}'; leave one of them")
    return found[0]


def has_split(path: str, split: Split, suffixes: Sequence[str] = TABLES) -> bool:
    """Return whether the path leads to a file for this split."""
    place = Path(path)
    return split == "train" if place.is_file() else bool(_in_folder(place, split, suffixes))


def _single_file(file: Path, split: Split, suffixes: Sequence[str]) -> Path:
    if file.suffix.lower() not in suffixes:
        raise path_error(file, f"unknown kind of file; known: {', '.join(suffixes)}")
    if split != "train":
        raise path_error(file, "one file is the training split; for the split "
                         f"'{split}' name a folder with {_expected(split, suffixes)} "
                         "beside train")  # fmt: skip
    return file


def _in_folder(folder: Path, split: Split, suffixes: Sequence[str]) -> list[Path]:
    candidates = (folder / f"{stem}{suffix}" for stem in STEMS[split] for suffix in suffixes)
    return [file for file in candidates if file.is_file()]


def _expected(split: Split, suffixes: Sequence[str]) -> str:
    return f"{' or '.join(STEMS[split])} with {', '.join(suffixes)}"


def read_rows(file: Path) -> list[RawRow]:
    """Return the rows of a table; the cells of a CSV file are text.

    Raises:
        UserError: the file cannot be read.
    """
    return list(stream_rows(file))


def stream_rows(file: Path) -> Iterator[RawRow]:
    """Yield the rows of a table or text file, holding few of them at a time.

    Each line of a text file that is not blank is a row with the single column `TEXT`.
    """
    try:
        yield from _READERS[file.suffix.lower()](file)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        raise path_error(file, f"the file cannot be read: {_reason(error, file)}") from error


def _reason(error: Exception, file: Path) -> str:
    """Return the reason why a file cannot be read, with the line."""
    if isinstance(error, UnicodeDecodeError) and file.suffix.lower() != ".parquet":
        return why_not_utf8(file)
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}"
    if isinstance(error, RecursionError):
        return "objects and lists are nested too deeply"
    return str(error)


def read_text(file: Path) -> str:
    """Return the whole content of a text file.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise path_error(file, f"the file cannot be read: {_reason(error, file)}") from error


def _text_lines(file: Path) -> Iterator[RawRow]:
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield PlacedRow([(TEXT, line.strip())], f"line {number}")


def _csv(file: Path) -> Iterator[RawRow]:
    csv.field_size_limit(_LONGEST_CELL)
    with file.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        names = next(reader, [])
        check_columns(names, "the header")
        first = reader.line_num + 1
        for cells in reader:
            if cells and len(cells) != len(names):
                raise ValueError(f"line {first}: expected {len(names)} cells as in the header, "
                                 f"found {len(cells)}")  # fmt: skip
            if cells:  # none where the line is blank
                yield PlacedRow(zip(names, cells, strict=True), f"line {first}")
            first = reader.line_num + 1


def _parquet(file: Path) -> Iterator[RawRow]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(file) as table:
        check_columns(table.schema_arrow.names, "the columns")
        for batch in table.iter_batches():
            yield from batch.to_pylist()


_READERS: dict[str, Callable[[Path], Iterator[RawRow]]] = {
    ".jsonl": json_lines,
    ".json": json_document,
    ".csv": _csv,
    ".parquet": _parquet,
    ".txt": _text_lines,
}
