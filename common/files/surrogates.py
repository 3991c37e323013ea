"""Strings that are no text: lone surrogates, which JSON can write and no file can hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.key_paths import Key, key_path

_WHY = "holds half of a character (a lone surrogate), which is no text; write the character out"


def why_no_text(value: Any) -> str | None:
    """Return the place of a string in ``value`` that is no text, and a fix.

    None if all are text.
    """
    for key in _broken(value, ()):
        shown = key_path(key).encode(errors="backslashreplace").decode()
        return f"'{shown}' {_WHY}" if key else _WHY
    return None


def why_not_utf8(file: Path) -> str:
    """Return the line of a file that is not UTF-8, and a fix."""
    with file.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                return f"line {number} is not UTF-8 (byte 0x{byte:02x}); save the file as UTF-8"
    return "the file is not UTF-8; save it so"


def _broken(value: Any, key: Key) -> Iterator[Key]:
    """Yield the places of strings with lone surrogates, in values and in the names of keys."""
    if isinstance(value, str):
        if not _is_text(value):
            yield key
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _broken(item, (*key, position))
    elif isinstance(value, dict):
        for name, item in value.items():
            if isinstance(name, str) and not _is_text(name):
                yield (*key, name)
            yield from _broken(item, (*key, name))


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
