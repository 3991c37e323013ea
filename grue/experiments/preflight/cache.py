"""Cache of a preflight check, so that runs with the same data or model share one look."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from common.errors import UserError

T = TypeVar("T")


class Answers:
    """Results by question; an error is stored as a result."""

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def once(self, question: Hashable, look: Callable[[], T]) -> T | UserError:
        """Return the result of ``look``, or its `UserError`; it is called once per question."""
        if question not in self._found:
            try:
                self._found[question] = look()
            except UserError as error:
                self._found[question] = error
        found: T | UserError = self._found[question]
        return found
