"""Reader of TensorFlow's checkpoints without TensorFlow: the tensor bundle of version 2.

``NAME.index`` is a sorted table (of LevelDB's format) from a variable's name to the place of its
values in ``NAME.data-00000-of-00001`` and similar files. Entries are protocol buffers. The formats
are those of LevelDB's ``doc/table_format.md`` and TensorFlow's ``tensor_bundle.proto``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError

_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_PLAIN = 0
"""Type of an uncompressed block, the only one in bundles."""
_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}
"""NumPy's names of TensorFlow's types."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_HIGH_BIT = 0x80


@dataclass(frozen=True)
class _Entry:
    """Place, type and shape of a variable's values."""

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int


def read_bundle(prefix: Path) -> dict[str, NDArray[Any]]:
    """Return all variables of the checkpoint whose files' names begin with ``prefix``, by name.

    Raises:
        UserError: a file is missing, or has another format.
    """
    index = prefix.with_name(f"{prefix.name}.index")
    try:
        entries = dict(_table(index.read_bytes()))
        header = _message(entries.pop(b""))
        shards = _shards(prefix, header.get(1, [0])[0])
        return {
            name.decode(): _values(shards, _entry(_message(value)))
            for name, value in entries.items()
        }
    except (OSError, ValueError, KeyError, IndexError, struct.error) as error:
        reason = str(error) if isinstance(error, OSError) else "it is no checkpoint, or is cut off"
        raise UserError(f"'{index}': cannot be read ({reason})") from error


def _shards(prefix: Path, count: int) -> list[NDArray[np.uint8]]:
    """Return the bytes of the data files, which are read on access."""
    names = [f"{prefix.name}.data-{shard:05d}-of-{count:05d}" for shard in range(count)]
    return [np.memmap(prefix.with_name(name), np.uint8, "r") for name in names]


def _values(shards: list[NDArray[np.uint8]], entry: _Entry) -> NDArray[Any]:
    data = shards[entry.shard][entry.offset : entry.offset + entry.size]
    return np.array(data).view(entry.dtype).reshape(entry.shape)


def _entry(message: dict[int, list[Any]]) -> _Entry:
    """Return the content of a BundleEntryProto; numbers that are 0 are not written in it."""
    dims = _message(message.get(2, [b""])[0]).get(2, [])
    shape = tuple(int(_message(dim).get(1, [0])[0]) for dim in dims)
    shard, offset, size = (int(message.get(field, [0])[0]) for field in (3, 4, 5))
    return _Entry(_DTYPES[message.get(1, [0])[0]], shape, shard, offset, size)


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a sorted table."""
    footer = content[-_FOOTER:]
    if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("no table")
    _, place = _handle(footer, 0)  # of the index of further data about the table
    blocks, _ = _handle(footer, place)
    for _, handle in _block(content, *blocks):
        yield from _block(content, *_handle(handle, 0)[0])


def _block(content: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a block.

    Only the part of a key that differs from the previous one is written.
    """
    if content[offset + size] != _PLAIN:
        raise ValueError("compressed")
    block = content[offset : offset + size]
    (num_restarts,) = struct.unpack("<I", block[-4:])
    place, end, key = 0, size - 4 * (num_restarts + 1), b""
    while place < end:
        shared, place = _varint(block, place)
        added, place = _varint(block, place)
        length, place = _varint(block, place)
        key = key[:shared] + block[place : place + added]
        place += added + length
        yield key, block[place - length : place]


def _handle(content: bytes, place: int) -> tuple[tuple[int, int], int]:
    """Return offset and size of a block, and the position after them."""
    offset, place = _varint(content, place)
    size, place = _varint(content, place)
    return (offset, size), place


def _message(content: bytes) -> dict[int, list[Any]]:
    """Return the fields of a protocol buffer by number: whole numbers, or bytes."""
    fields: dict[int, list[Any]] = {}
    place = 0
    while place < len(content):
        value: int | bytes
        tag, place = _varint(content, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(content, place)
        elif kind in (_FIXED32, _FIXED64):
            value, place = 0, place + (4 if kind == _FIXED32 else 8)  # checksums alone
        elif kind == _BYTES:
            length, place = _varint(content, place)
            value, place = content[place : place + length], place + length
        else:
            raise ValueError("no message")
        fields.setdefault(number, []).append(value)
    return fields


def _varint(content: bytes, place: int) -> tuple[int, int]:
    """Return a whole number in bytes of seven bits, the lowest first, and the position after it."""
    value = shift = 0
    while True:
        byte = content[place]
        place += 1
        value |= (byte & ~_HIGH_BIT) << shift
        if not byte & _HIGH_BIT:
            return value, place
        shift += 7
