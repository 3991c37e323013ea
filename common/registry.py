"""Names a plan may use, and the parts they stand for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from common.errors import UserError

T = TypeVar("T")
CUSTOM = "custom:"


def suggestion(name: str, known: list[str]) -> str:
    """``"; did you mean 'x'?"`` for a name close to a known one, otherwise nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def import_part(path: str) -> Any:
    """The object that ``"package.module:name"`` stands for.

    Raises:
        UserError: the path has another form, the module fails when it is imported, or there is no
            such module or name.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise UserError(f"'{path}': expected 'package.module:name'")
    try:
        return getattr(importlib.import_module(module_name), attribute)
    except (Exception, SystemExit) as error:  # a module may raise, or end, what it likes
        found = f"{type(error).__name__}: {error}"
        raise UserError(f"'{path}' cannot be imported: {found}") from error


class Registry(Generic[T]):
    """Parts of one kind that a plan may name.

    ``"custom:package.module:name"`` names a part outside the project.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that makes a part known under ``name``.

        Raises:
            ValueError: the name is taken; both owners are named.
        """

        def add(part: T) -> T:
            if name in self._parts:
                raise ValueError(
                    f"{self.kind} '{name}' is registered twice: {self._parts[name]!r} and {part!r}"
                )
            self._parts[name] = part
            return part

        return add

    def names(self) -> list[str]:
        """The registered names, sorted."""
        return sorted(self._parts)

    def get(self, name: str) -> T:
        """The part registered as ``name``.

        Raises:
            UserError: nothing has this name; the known names are listed.
        """
        if name.startswith(CUSTOM):
            part: T = import_part(name.removeprefix(CUSTOM))
            return part
        if name not in self._parts:
            known = self.names()
            raise UserError(
                f"unknown {self.kind}{suggestion(name, known)}; known: {', '.join(known)}"
            )
        return self._parts[name]
