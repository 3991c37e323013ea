"""Errors with messages that tell the user how to fix them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from common.process.stopping import StoppedAtOnce

_NO_VALUE: Any = object()
_LONGEST_VALUE = 80


class UserError(Exception):
    """Error that the user can fix; shown as its message alone, without a traceback."""


@dataclass(frozen=True)
class Problem:
    """One problem of a plan: place, key, value, and how to fix it."""

    message: str
    key: str | None = None
    value: Any = _NO_VALUE
    where: str = ""

    def at(self, where: str) -> Problem:
        """Return the same problem, placed at ``where`` (for example ``configurations[0]``)."""
        return Problem(self.message, self.key, self.value, where)

    def below(self, key: str) -> Problem:
        """Return the same problem of a configuration that is the value of ``key`` of another."""
        inner = key if self.key is None else f"{key}.{self.key}"
        return Problem(self.message, inner, self.value, self.where)

    def __str__(self) -> str:
        if self.key is None:
            return self.message
        if self.value is _NO_VALUE:
            return f"'{self.key}': {self.message}"
        shown = _shown(self.value)
        if len(shown) > _LONGEST_VALUE:
            shown = shown[: _LONGEST_VALUE - 4] + " ..."
        return f"'{self.key}' = {shown}: {self.message}"


def once_each(problems: Iterable[Problem]) -> list[Problem]:
    """Return each problem once: at the first of its places, with the number of the others."""
    places: dict[str, dict[str, Problem]] = {}
    for problem in problems:
        places.setdefault(str(problem), {}).setdefault(problem.where, problem)
    return [
        problem.at(where + (f" and {len(found) - 1} more" if len(found) > 1 else ""))
        for found in places.values()
        for where, problem in [next(iter(found.items()))]
    ]


def _shown(value: Any) -> str:
    """Return a value nearly as in JSON, with texts in single quotes and quotes inside unchanged."""
    if isinstance(value, str):
        return "'" + json.dumps(value, ensure_ascii=False)[1:-1].replace('\\"', '"') + "'"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_shown(str(k))}: {_shown(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_shown, value)) + "]"
    return json.dumps(value, default=str, ensure_ascii=False)


class ConfigError(UserError):
    """All problems of one plan, in one message."""

    def __init__(self, source: str, problems: list[Problem]) -> None:
        self.source = source
        self.problems = problems
        super().__init__(self._message())

    def _message(self) -> str:
        by_place: dict[str, list[str]] = {}
        for problem in self.problems:
            lines = by_place.setdefault(problem.where, [])
            if str(problem) not in lines:
                lines.append(str(problem))
        blocks = []
        for where, lines in by_place.items():
            place = f"{self.source}, {where}" if where else self.source
            blocks.append("\n".join([f"{place}:", *(f"  {line}" for line in lines)]))
        return "\n".join(blocks)


class Interrupted(Exception):
    """Signal that a run was asked to stop and has written its checkpoint."""


def text_of(error: BaseException) -> str:
    """Return the text of an error, even if its class fails to give one."""
    return _printed(str, error, "(its text cannot be printed)")


def shortened(text: str, most: int = 2_000) -> str:
    """Return the text, without its middle if it has more than ``most`` characters."""
    if len(text) <= most:
        return text
    part = most // 2
    return f"{text[:part]} ... ({len(text) - 2 * part} characters left out) ... {text[-part:]}"


def repr_of(value: Any) -> str:
    """Return the representation of a value, even if its class fails to give one."""
    return _printed(repr, value, "what cannot be printed")


def _printed(how: Callable[[Any], str], value: Any, otherwise: str) -> str:
    try:
        return printable(how(value))
    except StoppedAtOnce:
        raise
    except BaseException:  # user code may raise, or end, what it likes
        return otherwise


def printable(text: str) -> str:
    """Return the text with escapes for what is no character, such as half of a surrogate pair."""
    return text.encode(errors="backslashreplace").decode()
