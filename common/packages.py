"""Packages that only some runs need, looked up before any run starts."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.errors import Problem


def is_installed(module: str) -> bool:
    """Return whether a top-level module can be imported."""
    return importlib.util.find_spec(module) is not None


def lacking(
    package: str,
    key: str | None = None,
    value: Any = None,
    *,
    module: str | None = None,
    otherwise: str = "",
) -> Iterator[Problem]:
    """Yield the problem of ``key`` = ``value`` if the package that it needs is not installed.

    Without a ``key`` it is the problem of the part whose keys these are. ``module`` is the
    package's import name, None for its own name. ``otherwise`` is an alternative to installing it.
    """
    if not is_installed(module or package):
        instead = f"; {otherwise}" if otherwise else ""
        command = pip_install(package)
        message = f"needs the package '{package}': {command}{instead}"
        yield Problem(message) if key is None else Problem(message, key, value)


def pip_install(package: str) -> str:
    """Return the command that installs a package for this program's Python."""
    path = Path(sys.executable)
    python = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return shlex.join([str(python), "-m", "pip", "install", package])
