"""Sealed folders: a list of files and hashes shows whether their content is unchanged."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from common.hashing import content_hash
from common.run.folder import read_record, write_json
from common.run.record_schemas import DamagedError

SEAL = "files.json"
_SCHEMA = TypeAdapter(dict[str, str])


def seal(folder: Path) -> None:
    """Write the list of ``folder``'s files, as the last file of the folder."""
    (folder / SEAL).unlink(missing_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    hashes = {str(path.relative_to(folder)): content_hash(path) for path in files}
    write_json(folder / SEAL, hashes)


def check_seal(folder: Path) -> None:
    """Compare ``folder`` with its list.

    Raises:
        DamagedError: a file is missing or changed, or there is no list.
    """
    hashes = read_record(folder / SEAL, _SCHEMA)
    if hashes is None:
        raise DamagedError(f"{folder} is damaged (it was not written to its end)")
    for name, expected in hashes.items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{folder} is damaged ({name} is missing)")
        if content_hash(path) != expected:
            raise DamagedError(f"{folder} is damaged ({name} has changed)")
