"""Tools that some tests need: packages and programs, without which they are skipped.

The environment variable ``REQUIRE_TOOLS`` names those that must be there, separated by commas:
``packages`` for all that requirements-dev.txt names, and programs by their names. Their tests are
made in any case, and fail for want of them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from types import ModuleType
from typing import Any

import pytest

PACKAGES = "packages"
_REQUIRED = frozenset(filter(None, os.environ.get("REQUIRE_TOOLS", "").split(",")))


def needs(tool: str, is_there: bool, reason: str) -> pytest.MarkDecorator:
    """The mark of tests that need a tool, which is there or not."""
    return pytest.mark.skipif(not (is_there or tool in _REQUIRED), reason=reason)


def needs_package(module: str) -> pytest.MarkDecorator:
    """The mark of tests that need a package of requirements-dev.txt."""
    is_there = importlib.util.find_spec(module) is not None
    return needs(PACKAGES, is_there, f"needs the package of '{module}', see requirements-dev.txt")


def needs_program(*names: str) -> pytest.MarkDecorator:
    """The mark of tests that need a program, which has one of these names."""
    return needs(names[0], program(*names) is not None, f"{names[0]} is not installed")


def program(*names: str) -> str | None:
    """The path of the program that has the first of these names that there is."""
    return next(filter(None, map(shutil.which, names)), None)


def imported(module: str) -> ModuleType | Any:
    """A module of a package of requirements-dev.txt; its absence skips what imports it."""
    if PACKAGES in _REQUIRED:
        return importlib.import_module(module)
    return pytest.importorskip(module)


def skip_without(tool: str, problem: str | None) -> None:
    """Skips the test, or fails it, if there is a problem with a tool."""
    if problem is not None:
        (pytest.fail if tool in _REQUIRED else pytest.skip)(problem)
