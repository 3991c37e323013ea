"""Packages that only some runs need, looked for before any starts."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import Any

from common.errors import Problem


def is_installed(module: str) -> bool:
    """Whether a top-level module can be imported."""
    return importlib.util.find_spec(module) is not None


def lacking(
    package: str, key: str, value: Any, *, module: str | None = None, otherwise: str = ""
) -> Iterator[Problem]:
    """What is wrong with ``key`` = ``value`` where the package that it needs is not installed.

    ``module`` is what the package is imported as, None for its own name; ``otherwise`` is what
    could be done in its place.
    """
    if not is_installed(module or package):
        instead = f"; {otherwise}" if otherwise else ""
        command = f"python -m pip install {package}"
        yield Problem(f"needs the package '{package}': {command}{instead}", key, value)
