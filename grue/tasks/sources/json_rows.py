"""Rows of JSON and JSONL files, one after the other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from common.files.surrogates import why_no_text
from grue.tasks.sources.raw_rows import PlacedRow, RawRow, check_columns

_ENCODING = "utf-8-sig"
_SPACE = re.compile(r"\s*")
_BEGINNING = 1000


def json_lines(file: Path) -> Iterator[RawRow]:
    """Yield the objects of the lines; blank lines are skipped.

    Raises:
        ValueError: a line is no object; the message has its number.
    """
    with file.open(encoding=_ENCODING) as lines:
        yield from _parsed_lines(lines)


def json_document(file: Path) -> Iterator[RawRow]:
    """Yield the objects of a JSON file: a list of objects, one object, or one object per line.

    Raises:
        ValueError: the file is none of them.
    """
    with file.open(encoding=_ENCODING) as opened:
        is_list = opened.read(_BEGINNING).lstrip().startswith("[")
    if is_list:
        yield from _entries(file.read_text(encoding=_ENCODING))
    elif _is_object_of_many_lines(file):
        text = file.read_text(encoding=_ENCODING)
        yield _as_row(_decoder("entry 1").decode(text), "entry 1")
    else:
        yield from json_lines(file)


def _entries(text: str) -> Iterator[RawRow]:
    """Yield the entries of a list, parsed one at a time from the text."""
    number, place = 0, _after(text, "[", 0)
    while (number == 0 and not text.startswith("]", place)) or text.startswith(",", place):
        place = _after(text, ",", place) if number else place
        number += 1
        value, end = _decoder(f"entry {number}").raw_decode(text, place)
        yield _as_row(value, f"entry {number}")
        place = _after(text, "", end)
    if _after(text, "]", place) < len(text):
        raise json.JSONDecodeError("Extra data", text, place + 1)


def _after(text: str, mark: str, place: int) -> int:
    """Return the position after the expected mark and the white space around it."""
    start = _behind_space(text, place)
    if not text.startswith(mark, start):
        raise json.JSONDecodeError(f"Expecting '{mark}'", text, start)
    return _behind_space(text, start + len(mark))


def _behind_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    assert found is not None
    return found.end()


def _is_object_of_many_lines(file: Path) -> bool:
    with file.open(encoding=_ENCODING) as lines:
        first = next((line.strip() for line in lines if line.strip()), "")
    try:
        json.loads(first)
    except json.JSONDecodeError:
        return first.startswith("{")
    return False


def _parsed_lines(lines: Iterable[str]) -> Iterator[RawRow]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"line {number}"
            try:
                value = _decoder(place).decode(line.rstrip("\r\n"))
            except json.JSONDecodeError as error:
                message = f"{place}, column {error.colno}: not valid JSON: {error.msg}"
                raise ValueError(message) from error
            yield _as_row(value, place)


def _decoder(place: str) -> json.JSONDecoder:
    """Parse the JSON at ``place``; an object must not have the same key twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            check_columns([name for name, _ in pairs], place)
        return values

    return json.JSONDecoder(object_pairs_hook=once)


def _as_row(value: Any, place: str) -> RawRow:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: expected an object in {{ }}")
    broken = why_no_text(value)
    if broken:
        raise ValueError(f"{place}: {broken}")
    return PlacedRow(value.items(), place)
