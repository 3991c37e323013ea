"""Lazy public names of a package, imported when they are first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def public_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package whose public names are in other modules.

    The package stays quick to import and free of torch: a module is loaded when one of its names is
    first used.

    Args:
        package: name of the package.
        modules: the module of each public name.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        return getattr(importlib.import_module(modules[name]), name)

    def names() -> list[str]:
        return sorted(modules)

    return load, names
