"""Files of leases in folders: who holds them, and whether that process is still alive."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from common.files.disk_clock import disk_now
from common.process import identity

EXPIRY_SECONDS = 60.0
"""Seconds without a renewal after which a lease is free for other machines.

A dozen renewals are missed by then: no call of a library that keeps Python's threads waiting, busy
server or short loss of the network lasts so long, and what a lost machine had goes on in a minute.
"""

PREFIX = ".lease-"
"""Beginning of the names of leases, which their numbers follow."""
_FREE = "-free"
"""End of the name of a lease that was given back."""
_NAME = re.compile(rf"{re.escape(PREFIX)}(?P<number>\d{{1,18}})({_FREE})?")

own_ids: set[str] = set()
"""Ids of the leases that this process holds."""


@dataclass(frozen=True)
class Holder:
    """Process that holds a lease."""

    host: str
    machine: str
    """Digits of `common.process.identity.this_machine`."""
    pid: int
    started: float
    """Start of the process, in seconds since that of the machine."""
    id: str
    """Random text, another one for each lease."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}" if self.pid else "another process"


_HOLDER = TypeAdapter(Holder)
_SOMEBODY = Holder("", "", 0, 0.0, "")
"""Holder that has not yet written who it is."""


def holder(folder: Path) -> Holder | None:
    """Return the process that holds the folder's lease; None if it is free."""
    found = leases(folder)
    return holder_of(found[-1]) if found else None


def holder_of(path: Path) -> Holder | None:
    """Return the process that holds the lease in this file; None if it is free.

    Processes of this machine hold it as long as they live, those of others as long as they renew
    it.
    """
    if path.name.endswith(_FREE):
        return None
    try:
        content, touched = read(path)
    except FileNotFoundError:  # the next one was taken at this moment
        return _SOMEBODY
    try:
        found = _HOLDER.validate_json(content)
    except ValidationError:  # it is just being written, or there was no space for it
        found = _SOMEBODY
    if found.machine != identity.this_machine():
        is_alive = disk_now(path.parent) - touched <= EXPIRY_SECONDS
    elif found.pid == os.getpid():
        is_alive = found.id in own_ids
    else:
        is_alive = identity.is_alive(found.pid, found.started)
    return found if is_alive else None


def path_of(folder: Path, number: int) -> Path:
    """Return the path of a folder's lease."""
    return folder / f"{PREFIX}{number}"


def number_of(path: Path) -> int:
    """Return the number of a lease."""
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match["number"])


def leases(folder: Path) -> list[Path]:
    """Return the leases in the folder, if it exists, by their numbers."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _NAME.fullmatch(entry.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted((folder / name for name in names), key=number_of)


def content_for(id: str) -> bytes:
    """Return the content of this process's lease."""
    own = Holder(
        socket.gethostname(), identity.this_machine(), os.getpid(), identity.own_start(), id
    )
    return json.dumps(asdict(own)).encode()


def read(path: Path) -> tuple[bytes, float]:
    """Return the content of the file, and when it was touched by its disk's clock.

    It is opened for that: a network disk then tells its present state, not a remembered one.

    Raises:
        FileNotFoundError: there is no such file, or another machine has just removed it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        if error.errno == errno.ESTALE:
            raise FileNotFoundError(path) from error
        raise
    try:
        return os.read(descriptor, 4096), os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


def write_new(path: Path, content: bytes) -> bytes:
    """Write a file that must not exist yet; return its content, which is empty on a full disk.

    It does not have to survive a power cut.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(descriptor, content)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return content


def give_back(path: Path) -> None:
    """Mark a lease as free; its number stays, and no disk is too full for that."""
    path.rename(f"{path}{_FREE}")
