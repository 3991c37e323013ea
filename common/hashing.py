"""Content hashes: fingerprints of configurations and of files."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

_MOST_ENTRIES = 100_000


def fingerprint(content: Any) -> str:
    """Return the hash of a JSON value, independent of the order of keys; 64 hex digits."""
    return text_hash(canonical_json(content))


def canonical_json(content: Any) -> str:
    """Return a JSON value as the one text that `fingerprint` hashes."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)


def text_hash(text: str) -> str:
    """Return the hash of a text, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def content_hash(path: Path) -> str:
    """Return the hash of a file's bytes, or of the names and bytes of all files in a folder.

    Raises:
        OSError: ``path`` does not exist, is a device, or is a folder of very many files.
    """
    if path.is_dir():
        entries = list(itertools.islice(path.rglob("*"), _MOST_ENTRIES + 1))
        if len(entries) > _MOST_ENTRIES:
            why = f"a folder with more than {_MOST_ENTRIES:,} files and folders"
            raise OSError(errno.E2BIG, why, str(path))
        files = sorted(file for file in entries if file.is_file())
        return fingerprint([[str(file.relative_to(path)), content_hash(file)] for file in files])
    if path.exists() and not path.is_file():  # a device may be read for ever
        raise OSError(errno.EINVAL, "neither a file nor a folder", str(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
