"""Post-processing of generated texts before they are scored."""

from __future__ import annotations

import re
from collections.abc import Sequence

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+")
_MOST = 3


def three_sentences(text: str) -> str:
    """Return the first three sentences, one per line."""
    return "".join(text[i] if is_kept else "\n" for i, is_kept in _characters(text))


def kept_by_three_sentences(text: str) -> Sequence[int]:
    """Return the index in ``text`` of each character that `three_sentences` returns.

    That of a line break is the index of the blank that it stands for, the last one before a
    sentence.
    """
    return [index for index, _ in _characters(text)]


def _characters(text: str) -> list[tuple[int, bool]]:
    """Return the index of each character, and whether it is kept or becomes a line break."""
    begin, end = len(text) - len(text.lstrip()), len(text.rstrip())
    found: list[tuple[int, bool]] = []
    ends = [*_END.finditer(text, begin, end)]
    for number, separator in enumerate(ends[:_MOST]):
        found += [(index, True) for index in range(begin, separator.start())]
        if number < _MOST - 1:
            found.append((separator.end() - 1, False))
        begin = separator.end()
    if len(ends) < _MOST:
        found += [(index, True) for index in range(begin, end)]
    return found
