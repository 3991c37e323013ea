r"""Final answer of a text: after ``####``, in ``\boxed{}``, or its last number."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

Form = Literal["marker", "boxed", "last_number"]
"""Form in which a text gives its answer."""

_MARKER = re.compile(r"####([^\n]*)")
_BOX = re.compile(r"\\boxed\s*\{")
_LAST_NUMBER = re.compile(
    r"(?:(?<![\w)\]}])[-−])?"  # a minus after a digit or bracket is a subtraction
    r"\$?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+|(?<![0-9])(?=\.[0-9]))"
    r"(?:\.[0-9]+)?(?:/[0-9]+)?%?"
)


def find_answer(text: str, forms: Sequence[Form]) -> str | None:
    """Return the last answer in the first of ``forms`` that the text has; None if it has none."""
    for form in forms:
        answer = _FINDERS[form](text)
        if answer:
            return answer
    return None


def find_match(text: str, pattern: re.Pattern[str]) -> str | None:
    """Return the first group of the pattern's last match, or the whole match without groups.

    Nothing but white space is no answer, and gives None.
    """
    *_, last = (None, *pattern.finditer(text))
    found = "" if last is None else last[min(1, pattern.groups)] or ""
    return found.strip() or None


def _after_marker(text: str) -> str | None:
    return find_match(text, _MARKER)


def _last_number(text: str) -> str | None:
    return find_match(text, _LAST_NUMBER)


def _in_box(text: str) -> str | None:
    """Return the content of the last box whose braces are balanced."""
    for box in reversed(list(_BOX.finditer(text))):
        depth = 1
        for end in range(box.end(), len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                return text[box.end() : end].strip()
    return None


_FINDERS: Mapping[Form, Callable[[str], str | None]] = {
    "marker": _after_marker,
    "boxed": _in_box,
    "last_number": _last_number,
}
