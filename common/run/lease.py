"""Leases of folders: of all processes on all hosts, one at a time writes in a run's folder.

The lease is a file in the folder, ``.lease-<number>``. Whoever takes it makes the file of the next
number, which succeeds for one alone, and then removes the one before; the number of a folder never
falls. The file names its holder, who renews it by touching it, and looks before each writing
whether it is still there. A holder that stood still for too long finds it gone, and writes no more.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from common.run import lease_files
from common.run.lease_files import (
    Holder,
    content_for,
    give_back,
    holder,
    holder_of,
    leases,
    number_of,
    path_of,
    read,
    write_new,
)

log = logging.getLogger(__name__)

RENEWAL_SECONDS = 5.0
"""Seconds between renewals: one small request to a file server, of a run that may last for days."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Clock that goes on while the machine sleeps, where there is one."""


class LeaseHeld(Exception):
    """Error of a folder whose lease another process holds."""

    def __init__(self, folder: Path, holder: Holder | None) -> None:
        super().__init__(f"{folder} is being made by {holder or 'another process'}")


class LeaseLost(Exception):
    """Error of a process whose lease was taken over."""


def take(folder: Path) -> Lease:
    """Return the lease of an existing folder, which this process holds from now on.

    Raises:
        LeaseHeld: another process holds it, or was faster.
        OSError: the folder cannot be written to, or is full.
    """
    before = leases(folder)
    found = holder_of(before[-1]) if before else None
    if found is not None:
        raise LeaseHeld(folder, found)
    lease = Lease(folder, number_of(before[-1]) + 1 if before else 1)
    lease.create()
    _keeper.add(lease)
    return lease


@contextmanager
def holding(folder: Path) -> Iterator[bool]:
    """Hold the folder's lease in the block; yield false, without it, if another process does."""
    try:
        lease = take(folder)
    except LeaseHeld:
        yield False
        return
    try:
        yield True
    finally:
        lease.release()


def check_lease(path: Path) -> None:
    """Check, right before ``path`` is written, that this process may still do so.

    Raises:
        LeaseLost: ``path`` is in a folder whose lease was taken over from this process.
    """
    if _keeper.held:
        place = str(path.absolute())
        for beginning, lease in list(_keeper.held.items()):
            if place.startswith(beginning):
                lease.check()


def end_when_lost(end: Callable[[], None]) -> None:
    """Make the loss of a lease end this process by ``end``."""
    _keeper.end = end


@dataclass
class Lease:
    """Lease that this process has taken."""

    folder: Path
    number: int
    """Fencing number, which grows with every taking."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    is_lost: bool = False

    def __post_init__(self) -> None:
        self._path = path_of(self.folder, self.number)
        self._content = content_for(self.id)
        self._renewed = time.clock_gettime(_CLOCK)

    def create(self) -> None:
        """Make the lease's file, and remove those before it.

        Raises:
            LeaseHeld: another process was faster.
        """
        try:
            self._content = write_new(self._path, self._content)
        except FileExistsError:
            raise LeaseHeld(self.folder, holder_of(self._path)) from None
        others = [path for path in leases(self.folder) if path != self._path]
        if any(number_of(path) >= self.number for path in others):  # taken by others meanwhile
            self._path.unlink(missing_ok=True)
            raise LeaseHeld(self.folder, holder(self.folder))
        for path in others:
            path.unlink(missing_ok=True)

    def check(self) -> None:
        """Check that the lease is still this process's.

        Raises:
            LeaseLost: it is not.
        """
        message = (
            f"{self.folder} was taken over while process {os.getpid()} stood still; it writes "
            "nothing more there"
        )
        if not self.is_lost and not self._is_own():
            self.is_lost = True
            log.warning("%s", message)
            _keeper.end()
        if self.is_lost:
            raise LeaseLost(message)

    def _is_own(self) -> bool:
        try:
            return self._has_content()
        except (FileNotFoundError, NotADirectoryError):
            return not self._is_late() and self._put_back()

    def _has_content(self) -> bool:
        return read(self._path)[0] == self._content

    def _is_late(self) -> bool:
        """Return whether other machines may have taken the lease over."""
        return time.clock_gettime(_CLOCK) - self._renewed > lease_files.EXPIRY_SECONDS

    def _put_back(self) -> bool:
        """Restore the file, which the run itself has removed; return false if others have it."""
        try:
            self._content = write_new(self._path, self._content)
        except FileExistsError:
            return False
        except (FileNotFoundError, NotADirectoryError):  # nobody has a folder that is gone
            return True
        is_alone = leases(self.folder) == [self._path]
        if not is_alone:
            self._path.unlink(missing_ok=True)
        return is_alone

    def renew(self) -> None:
        """Touch the file.

        Raises:
            LeaseLost: it is not this process's any more.
            OSError: the file server does not answer.
        """
        self.check()
        os.utime(self._path)
        self._renewed = time.clock_gettime(_CLOCK)

    def release(self) -> None:
        """Give the lease back, unless it is lost."""
        try:
            self.is_lost = self.is_lost or not self._has_content()
            if not self.is_lost:
                give_back(self._path)
        except OSError:  # its folder has gone, or it was taken over unnoticed
            self.is_lost = True
        _keeper.remove(self)

    def forget(self) -> None:
        """Forget the lease; its file stays, and goes where its folder is moved to."""
        _keeper.remove(self)


class _Keeper:
    """Keeper of this process's leases, which renews them in a thread."""

    def __init__(self) -> None:
        self.held: dict[str, Lease] = {}
        """Leases by the beginning of the paths in their folders; lost ones stay."""
        self.end: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        self.held[_beginning(lease)] = lease
        lease_files.own_ids.add(lease.id)
        if self._thread is None:
            self._thread = threading.Thread(target=self._renew, name="leases", daemon=True)
            self._thread.start()

    def remove(self, lease: Lease) -> None:
        lease_files.own_ids.discard(lease.id)
        if not lease.is_lost:
            self.held.pop(_beginning(lease), None)

    def _renew(self) -> None:
        while True:
            time.sleep(RENEWAL_SECONDS)
            for lease in list(self.held.values()):
                with suppress(OSError, LeaseLost):  # the next one may succeed; whoever writes is
                    lease.renew()  # told of the loss

    def forget(self) -> None:
        """Hold nothing in a copy of the process, in which the thread does not go on."""
        self.held, self._thread = {}, None
        lease_files.own_ids.clear()


_keeper = _Keeper()
os.register_at_fork(after_in_child=_keeper.forget)


def _beginning(lease: Lease) -> str:
    return f"{lease.folder.absolute()}{os.sep}"
