"""Source files of users' own parts, which count for a run's identity by content.

A part's sources are the file of its module and all users' files that it imports, directly or
indirectly. Import statements are read, and nothing is executed. The project itself and installed
packages are skipped, except for the module of the part itself. Modules that `importlib` loads by a
computed name, and data that the code reads, are not found.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from common.custom.user_code import CUSTOM, is_installed, is_of_the_project
from common.hashing import content_hash

_PART = re.compile(re.escape(CUSTOM) + r"(?P<module>[\w.]+):\w+")


@dataclass(frozen=True)
class SourceFile:
    """A file of Python code."""

    name: str
    """Name of the file by its module, ``package/module.py``, in whatever folder it is."""
    path: Path
    sha256: str

    def is_newer(self, time: float | None) -> bool:
        """Return whether it was modified after ``time``, in seconds since 1970; True for None."""
        return time is None or self.path.stat().st_mtime >= time


def modules_named(value: Any) -> Iterator[str]:
    """Yield the modules of the parts (``"custom:module:name"``) among the texts in ``value``."""
    if isinstance(value, str):
        match = _PART.fullmatch(value)
        if match:
            yield match["module"]
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from modules_named(item)


def source_files(module: str) -> list[SourceFile]:
    """Return the source files of the parts in ``module``, each once."""
    files: dict[str, SourceFile] = {}
    to_read = [module]
    for name in to_read:  # grows on the way
        for found in _with_packages(name):
            if found.path is None or found.file in files or is_of_the_project(found.path):
                continue
            installed = is_installed(found.path)
            if not installed or found.name == module:
                files[found.file] = SourceFile(found.file, found.path, content_hash(found.path))
            if not installed:
                to_read += _imports(found, found.path)
    return list(files.values())


def changed_sources(recorded: Mapping[str, str]) -> list[str]:
    """Return the names of the files whose content differs from the hash in ``recorded``.

    ``recorded`` holds hashes by `SourceFile.name`.
    """
    return [name for name, sha256 in recorded.items() if _hash_of(_module_of(name)) != sha256]


def unread_changes(recorded: Mapping[str, str]) -> list[str]:
    """Return changed files as `changed_sources` does, of modules that are not imported yet."""
    unread = {name: sha256 for name, sha256 in recorded.items()
              if _module_of(name) not in sys.modules}  # fmt: skip
    return [name for name in changed_sources(unread) if _hash_of(_module_of(name))]


def _module_of(file: str) -> str:
    """Return the module whose file has this name."""
    return file.partition(".")[0].removesuffix("/__init__").replace("/", ".")


def _hash_of(module: str) -> str | None:
    """Return the hash of a module's file; None if there is none."""
    found = _find(module)
    return None if found is None or found.path is None else content_hash(found.path)


@dataclass(frozen=True)
class _Module:
    """A module at the place where Python would find it."""

    name: str
    path: Path | None
    """Path of its file; None for a built-in module and for a folder without ``__init__.py``."""
    folders: list[str] | None
    """Folders of its submodules; None if it is no package."""

    @property
    def file(self) -> str:
        """Name of its file without the folder."""
        inside = "/__init__" if self.folders is not None else ""
        return f"{self.name.replace('.', '/')}{inside}{self.path.suffix if self.path else ''}"


def _with_packages(name: str) -> list[_Module]:
    """Return the packages around a module, and itself, as far as they are found."""
    if name.partition(".")[0] in sys.stdlib_module_names:
        return []
    parts = name.split(".")
    names = (".".join(parts[:count]) for count in range(1, len(parts) + 1))
    return [found for found in map(_find, names) if found is not None]


def _find(name: str) -> _Module | None:
    """Return the module called ``name`` without executing it; None if there is none."""
    package, _, last = name.rpartition(".")
    folders = None
    if package:
        parent = _find(package)
        folders = None if parent is None else parent.folders
        if folders is None:
            return None
    try:
        spec = PathFinder.find_spec(name, folders) if package else importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    except KeyError:  # of a folder without __init__.py in a package that is not imported yet
        spec = None
    if spec is not None and spec.has_location and spec.origin:
        return _Module(name, Path(spec.origin), spec.submodule_search_locations)
    places = [Path(place, last) for place in (folders or sys.path)]
    inside = [str(place) for place in places if place.is_dir()]
    return _Module(name, None, inside) if inside else None


def _imports(module: _Module, path: Path) -> Iterator[str]:
    """Yield the names in a file's import statements: modules, and possible modules inside them."""
    if path.suffix != ".py":
        return
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # importing it says so
    package = module.name if module.folders is not None else module.name.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level and package else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)
