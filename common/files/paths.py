"""Paths that users give, which may be none."""

from __future__ import annotations

from pathlib import Path


def is_there(path: str | Path) -> bool:
    """Return whether there is such a file or folder.

    The result is false if ``path`` can be none, for example if it is too long.
    """
    try:
        return Path(path).exists()
    except OSError:
        return False


def is_file(path: str | Path) -> bool:
    """Return whether there is such a file, as `is_there` does."""
    return is_there(path) and Path(path).is_file()
