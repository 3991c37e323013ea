"""Source of raw texts, from local files or the hub, one after the other."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from common.errors import UserError
from grue.tasks.sources.hub_rows import SPLIT_NAMES, Hub
from grue.tasks.sources.local_files import TABLES, TEXT, at_path, has_split, split_file, stream_rows
from grue.tasks.sources.raw_rows import place_of
from grue.tasks.task import Split

log = logging.getLogger(__name__)

_SUFFIXES = (*TABLES, ".txt")
_SECONDS_BETWEEN_LINES = 15.0

T = TypeVar("T")


@dataclass(frozen=True)
class RawText:
    """A text of a source."""

    place: int
    """Position of its first row in the source, from 0."""
    text: str
    reference: str | None = None


@dataclass(frozen=True)
class TextSource:
    """A column of texts in local files, or on the hub if ``path`` is None."""

    path: str | None
    hub: Hub
    hub_splits: bool
    """If true, the hub has a validation and a test split."""
    column: str
    """Column of the texts; the lines of a plain text file have none."""
    reference_column: str | None = None
    rows_per_text: int = 1
    """Number of rows that are joined by spaces to one text; the last text may have fewer."""

    def has_splits(self) -> bool:
        """True if there is a validation split; otherwise there is only the training split."""
        return self.hub_splits if self.path is None else has_split(self.path, "val", _SUFFIXES)

    def name(self, split: Split) -> str:
        """Return the name of the split in messages."""
        if self.path is None:
            return f"the split '{SPLIT_NAMES[split]}' of {self.hub}"
        return at_path(split_file(self.path, self._given(split), _SUFFIXES))

    def texts(self, split: Split) -> Iterator[RawText]:
        """Yield the texts of a split in the order of the source; without a test split, val's.

        Raises:
            UserError: the data cannot be loaded, lack a column, or a value is no text.
        """
        column, rows = self._rows(split)
        for number in itertools.count(step=self.rows_per_text):
            together = list(itertools.islice(rows, self.rows_per_text))
            if not together:
                return
            name = f"{self.name(split)}, {place_of(together[0], number + 1)}"
            texts = [_text(row, column, "text_column", name) for row in together]
            reference = None
            if self.reference_column is not None:
                reference = _text(together[0], self.reference_column, "reference_column", name)
            yield RawText(number, " ".join(texts), reference)

    def _rows(self, split: Split) -> tuple[str, Iterator[Mapping[str, Any]]]:
        """Return the name of the texts' column, and the rows."""
        if self.path is None:
            return self.column, self.hub.stream(split)
        file = split_file(self.path, self._given(split), _SUFFIXES)
        return (TEXT if file.suffix.lower() == ".txt" else self.column), stream_rows(file)

    def _given(self, split: Split) -> Split:
        assert self.path is not None
        absent = split == "test" and not has_split(self.path, "test", _SUFFIXES)
        return "val" if absent else split


def _text(row: Mapping[str, Any], column: str, key: str, name: str) -> str:
    if column not in row:
        raise UserError(f"{name}: has no column '{column}'; its columns are "
                        f"{', '.join(row) or 'none'}: set 'datapool.args.{key}'")  # fmt: skip
    text = row[column]
    if not isinstance(text, str):
        raise UserError(f"{name}, '{column}': expected text, found {text!r}")
    return text


def told(items: Iterable[T], name: str) -> Iterator[T]:
    """Yield the items and show progress: a bar on a terminal, otherwise lines of the log."""
    from tqdm import tqdm

    said_at = time.monotonic()
    with tqdm(desc=f"  {name}", unit="", leave=False, disable=None) as bar:
        for number, item in enumerate(items, start=1):
            yield item
            bar.update()
            if bar.disable and time.monotonic() - said_at >= _SECONDS_BETWEEN_LINES:
                said_at = time.monotonic()
                log.info("%s: %d read", name, number)
