"""Settings in a file of ``torch.save``, read without importing or running anything it names."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

from common.errors import UserError

_LARGEST = 2**24
"""Largest size in bytes of what is unpickled."""


class _Inert:
    """Stand-in for an object of any class: it keeps the state and does nothing."""

    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **_: Any) -> _Inert:
        """Keep the arguments; some objects are made without ``__init__``."""
        self = super().__new__(cls)
        self.args, self.state = args, {}
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *args: Any, **more: Any) -> _Inert:
        return _Inert(*args, **more)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Drop an item."""

    def extend(self, items: Any) -> None:
        """Drop the items."""


class _Unpickler(pickle.Unpickler):
    """Unpickler that knows no class and no function."""

    def find_class(self, module: str, name: str) -> type[_Inert]:
        """Return a stand-in, whatever the name."""
        return _Inert

    def persistent_load(self, pid: Any) -> None:
        """Return nothing for a tensor."""


def attributes(path: Path) -> dict[str, Any]:
    """Return the attributes of the object in a file of ``torch.save``.

    Numbers, texts, lists and dictionaries are as they were; an enumeration's member is its value,
    and every other object None.

    Raises:
        UserError: the file cannot be read as such.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (entry,) = (one for one in archive.infolist() if one.filename.endswith("/data.pkl"))
            if entry.file_size > _LARGEST:
                raise UserError(f"{path}: holds more than settings")
            with archive.open(entry) as file:
                found = _Unpickler(file).load()
    except UserError:
        raise
    except Exception as error:  # what chance bytes make of an unpickler may be any
        raise UserError(f"{path}: cannot be read as settings: {error}") from None
    if not isinstance(found, _Inert) or not isinstance(found.state, dict):
        raise UserError(f"{path}: holds no object with attributes")
    return {str(name): _plain(value) for name, value in found.state.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, _Inert):
        return value.args[0] if len(value.args) == 1 and isinstance(value.args[0], str) else None
    return value
