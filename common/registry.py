"""Registries: names that a plan may use, and their parts."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from common.custom.user_code import CUSTOM, places, told
from common.errors import UserError
from common.process.snapshot import directory_kept

T = TypeVar("T")
_MISSING: Any = object()


def suggestion(name: str, known: list[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for a name close to a known one, otherwise "".

    So is the only known name that a name begins.
    """
    begun = [other for other in known if name and other.startswith(name)]
    close = begun if len(begun) == 1 else difflib.get_close_matches(name, known, n=1)
    return _did_you_mean(close[0]) if close else ""


def _did_you_mean(name: str) -> str:
    return f"; did you mean '{name}'?"


def import_part(path: str) -> Any:
    """Return the object with the import path ``"package.module:name"``.

    Raises:
        UserError: the path has another form, the module fails when it is imported, or there is no
            such module or name.
    """
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute:
        raise UserError(f"'{path}': expected 'package.module:name'")
    try:
        with directory_kept():
            module = importlib.import_module(module_name)
        found = getattr(module, attribute, _MISSING)
    except (Exception, SystemExit) as error:  # a module may raise, or end, what it likes
        is_missing = isinstance(error, ModuleNotFoundError) and _contains(error.name, module_name)
        reason = _not_found(module_name) if is_missing else told(error)
        raise UserError(f"'{path}' cannot be imported: {reason}") from error
    if found is _MISSING:
        file = getattr(module, "__file__", None) or "built in"
        raise UserError(
            f"'{path}' cannot be imported: module '{module_name}' ({file}) has no '{attribute}'"
            f"{suggestion(attribute, dir(module))}"
        )
    return found


def _contains(package: str | None, module: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def _not_found(module: str) -> str:
    file = f"{module.replace('.', '/')}.py"
    return (
        f"there is no module '{module}' in {places()}; put {file} beside the plan, or the folder "
        "that holds it into PYTHONPATH"
    )


class Registry(Generic[T]):
    """Registry of the parts of one kind that a plan may name.

    ``"custom:package.module:name"`` names a user's own part.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._parts: dict[str, T] = {}
        self._paths: dict[str, str] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that registers a part as ``name``.

        Raises:
            ValueError: the name is taken; the message has both owners.
        """

        def add(part: T) -> T:
            self._refuse_twin(name, part)
            self._parts[name] = part
            return part

        return add

    def register_path(self, name: str, path: str) -> None:
        """Register the part with an import path as ``name``; it is imported when it is first used.

        Raises:
            ValueError: the name is taken; the message has both owners.
        """
        self._refuse_twin(name, path)
        self._paths[name] = path

    def _refuse_twin(self, name: str, part: T | str) -> None:
        before = self._parts.get(name, self._paths.get(name))
        if before is not None:
            raise ValueError(f"{self.kind} '{name}' is registered twice: {before!r} and {part!r}")

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted({*self._parts, *self._paths})

    def _suggestion(self, name: str) -> str:
        """Return `suggestion`, but first the only name with, or in, all words of ``name``."""
        words = set(name.split("_"))
        others = {known: set(known.split("_")) for known in self.names()}
        alike = [known for known, own in others.items() if own <= words or words <= own]
        return suggestion(name, list(others)) if len(alike) != 1 else _did_you_mean(alike[0])

    def get(self, name: str) -> T:
        """Return the part registered as ``name``.

        Raises:
            UserError: no part has this name; the message lists the known names.
        """
        if name.startswith(CUSTOM):
            part: T = import_part(name.removeprefix(CUSTOM))
            return part
        if name not in self._parts and name in self._paths:
            self._parts[name] = import_part(self._paths[name])
        if name not in self._parts:
            known = self.names()
            raise UserError(
                f"unknown {self.kind}{self._suggestion(name)}; known: {', '.join(known)}"
            )
        return self._parts[name]
