"""Comparison of answers: as exact numbers, otherwise as texts."""

from __future__ import annotations

import re
from fractions import Fraction

_FRACTION = re.compile(r"\\[dt]?frac\{(-?[0-9]+)\}\{(-?[0-9]+)\}")
_IGNORED = re.compile(r"\\[,!;%$ ]|[\s$%]|(?<=[0-9]),(?=[0-9]{3}(?![0-9]))|\.$")
"""LaTeX's spaces, blanks, signs of dollars and per cent, commas of thousands, a final full stop."""
_NUMBER = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:/[-+]?[0-9]+)?")


def are_equal(answer: str, right: str) -> bool:
    """Return whether two answers are the same number, or the same text in letters of either case.

    Blanks, commas of thousands, signs of dollars and per cent and a final full stop do not count.
    Decimal numbers and fractions are exact: 0.50 is 1/2, and 0.33 is not 1/3.
    """
    given, wanted = _normalized(answer), _normalized(right)
    numbers = _number(given), _number(wanted)
    return given == wanted if None in numbers else numbers[0] == numbers[1]


def agreement(answer: str, right: str) -> float:
    """Return the share of characters that agree, from 0 to 1, of the longer answer's.

    The answers are aligned at their last characters, so that digits of the same value meet. It is 1
    for equal answers alone.
    """
    if are_equal(answer, right):
        return 1.0
    given, wanted = _normalized(answer), _normalized(right)
    same = sum(a == b for a, b in zip(reversed(given), reversed(wanted), strict=False))
    longer = max(len(given), len(wanted))
    return same / longer


def _normalized(answer: str) -> str:
    plain = answer.strip().replace("−", "-")
    return _IGNORED.sub("", _FRACTION.sub(r"\1/\2", plain)).casefold()


def _number(text: str) -> Fraction | None:
    """Return the exact number that a text is, as a quotient of decimal numbers; None for others."""
    if not _NUMBER.fullmatch(text):
        return None
    above, _, below = text.partition("/")
    try:
        return Fraction(above) / Fraction(below or 1)
    except (ValueError, ZeroDivisionError):  # thousands of digits, or no number at all
        return None
