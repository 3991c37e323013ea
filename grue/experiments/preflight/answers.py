"""What was looked at for one run is not looked at again for the next."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from common.errors import UserError

T = TypeVar("T")


class Answers:
    """What was found, by what was asked; an error that was found stands as itself."""

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def once(self, question: Hashable, look: Callable[[], T]) -> T | UserError:
        """What ``look`` gives, or the `UserError` that it raises; it is called once a question."""
        if question not in self._found:
            try:
                self._found[question] = look()
            except UserError as error:
                self._found[question] = error
        found: T | UserError = self._found[question]
        return found
