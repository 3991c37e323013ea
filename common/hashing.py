"""Content hashes: fingerprints of configurations and of files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any


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
        FileNotFoundError: ``path`` does not exist.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return fingerprint([[str(file.relative_to(path)), content_hash(file)] for file in files])
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
