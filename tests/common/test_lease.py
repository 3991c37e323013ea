"""Leases: one process at a time writes in a run's folder, and whoever lost it writes no more."""

from __future__ import annotations

import errno
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from common.files.temp_files import beside_path, remove_leftovers
from common.process import identity
from common.run import lease_files, status
from common.run.folder import RunFolder, replacing_folder, write_json, write_text
from common.run.lease import Lease, LeaseHeld, LeaseLost, check_lease, holding, take
from tests.small_disks import small_disk

__all__ = ["small_disk"]

_PROCESSES = multiprocessing.get_context("fork")


def elsewhere(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in another process, which has ended then."""
    results = _PROCESSES.SimpleQueue()
    process = _PROCESSES.Process(target=lambda: results.put(function(*arguments)))
    process.start()
    process.join(300)
    assert process.exitcode == 0
    return results.get()


def on_another_machine(function: Callable[..., Any], *arguments: Any) -> Any:
    """The same in a process that takes itself for one of another machine."""
    return elsewhere(_as_other, function, *arguments)


def _as_other(function: Callable[..., Any], *arguments: Any) -> Any:
    identity.this_machine = lambda: "0123abcd"
    return function(*arguments)


def number_taken(folder: Path) -> int | None:
    """Takes the lease, and does not give it back."""
    with suppress(LeaseHeld):
        return take(folder).number
    return None


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def lease(tmp_path: Path) -> Iterator[Lease]:
    """A lease of this process."""
    found = take(tmp_path)
    yield found
    found.release()


_BOOT_TIME = ["psutil.boot_time"]
"""What follows a step of the clock in psutil 6; later versions tell starts by that as well."""


@pytest.mark.parametrize("moved", [_BOOT_TIME, [*_BOOT_TIME, "psutil._psplatform.boot_time"]])
@pytest.mark.parametrize("step", [-3600.0, 2.0])
def test_a_step_of_the_clock_ends_no_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float, moved: list[str]
) -> None:
    holding, done = _PROCESSES.Event(), _PROCESSES.Event()

    def hold() -> None:
        take(tmp_path)
        holding.set()
        done.wait(300)

    process = _PROCESSES.Process(target=hold)
    process.start()
    assert holding.wait(300)
    boot_time = psutil.boot_time()
    for place in moved:
        monkeypatch.setattr(place, lambda: boot_time + step)
    found = lease_files.holder(tmp_path)
    assert found is not None
    assert found.pid == process.pid
    done.set()
    process.join(300)
    assert lease_files.holder(tmp_path) is None


Age = Callable[[Lease, float], None]


def _touch(lease: Lease, seconds_ago: float) -> None:
    then = time.time() - seconds_ago
    os.utime(lease_files.path_of(lease.folder, lease.number), (then, then))


@pytest.fixture
def age(monkeypatch: pytest.MonkeyPatch) -> Age:
    """Makes a lease look as if it had not been renewed for a while; it is not until the end."""
    monkeypatch.setattr(Lease, "renew", lambda lease: None)
    return _touch


@pytest.fixture
def long_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test may stand still for a while and finds a lease as it has aged it."""
    monkeypatch.setattr(lease_files, "EXPIRY_SECONDS", 1200.0)


def test_the_number_of_a_folder_grows_and_one_file_stays(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        lease = take(tmp_path)
        assert lease.number == number
        assert names(tmp_path) == [f".lease-{number}"]
        lease.release()
        assert names(tmp_path) == [f".lease-{number}-free"]
        assert lease_files.holder(tmp_path) is None


def test_a_held_lease_is_not_taken(lease: Lease) -> None:
    found = lease_files.holder(lease.folder)
    assert found is not None
    assert (found.pid, found.id) == (os.getpid(), lease.id)
    with pytest.raises(LeaseHeld, match=f"is being made by process {os.getpid()} on "):
        take(lease.folder)
    assert elsewhere(number_taken, lease.folder) is None
    with holding(lease.folder) as is_free:
        assert not is_free
    assert names(lease.folder) == [".lease-1"]


def _turns(folder: Path, count: int) -> list[int]:
    """Takes the lease that often; says of each time with which number."""
    numbers = []
    while len(numbers) < count:
        with suppress(LeaseHeld):
            lease = take(folder)
            os.close(os.open(folder / "alone", os.O_CREAT | os.O_EXCL))
            numbers.append(lease.number)
            (folder / "alone").unlink()
            lease.release()
    return numbers


def test_of_many_takers_one_has_it_at_a_time(tmp_path: Path) -> None:
    with _PROCESSES.Pool(4) as pool:
        turns = pool.starmap(_turns, [(tmp_path, 60)] * 4)
    assert sorted(number for numbers in turns for number in numbers) == list(range(1, 241))
    assert names(tmp_path) == [".lease-240-free"]


def test_a_dead_process_of_this_machine_holds_nothing(tmp_path: Path) -> None:
    assert elsewhere(number_taken, tmp_path) == 1
    assert lease_files.holder(tmp_path) is None
    assert elsewhere(number_taken, tmp_path) == 2


def test_one_that_lives_holds_its_lease_however_long_it_stands_still(
    lease: Lease, age: Age
) -> None:
    age(lease, 1e6)
    assert elsewhere(number_taken, lease.folder) is None


def test_other_machines_judge_by_the_age(lease: Lease, age: Age, long_expiry: None) -> None:
    age(lease, lease_files.EXPIRY_SECONDS - 600)
    assert on_another_machine(number_taken, lease.folder) is None
    age(lease, lease_files.EXPIRY_SECONDS + 5)
    assert on_another_machine(number_taken, lease.folder) == 2
    assert names(lease.folder) == [".lease-2"]


@pytest.mark.parametrize("off", [-3600, 3600])
def test_the_clock_of_a_machine_does_not_matter(
    lease: Lease, age: Age, long_expiry: None, off: float
) -> None:
    own = time.time

    def is_held() -> bool:
        time.time = lambda: own() + off
        return lease_files.holder(lease.folder) is not None

    for seconds, expected in ((-600, True), (5, False)):
        age(lease, lease_files.EXPIRY_SECONDS + seconds)
        assert on_another_machine(is_held) == expected


def test_a_lease_is_renewed_in_a_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def renewed() -> bool:
        monkeypatch.setattr("common.run.lease.RENEWAL_SECONDS", 0.02)
        lease = take(tmp_path)
        _touch(lease, 1000)
        deadline = time.monotonic() + 200
        path = lease_files.path_of(tmp_path, 1)
        while time.time() - path.stat().st_mtime > 500 and time.monotonic() < deadline:
            time.sleep(0.01)
        return time.time() - path.stat().st_mtime < 500

    assert elsewhere(renewed)


def lost(folder: Path, age: Age) -> Lease:
    """A lease of this process that another machine has taken over, and given back."""
    lease = take(folder)
    age(lease, 1000)
    assert on_another_machine(_pass_through, folder)
    return lease


def _pass_through(folder: Path) -> bool:
    with holding(folder) as is_free:
        return is_free


def test_whoever_lost_the_lease_writes_nothing(tmp_path: Path, age: Age) -> None:
    folder = RunFolder(tmp_path)
    write_json(folder.status, {"status": "done"})
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_text("whole")
    lost(tmp_path, age)

    def contents() -> dict[str, str]:
        return {str(path): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}

    before = contents()
    for _ in range(2):
        with pytest.raises(LeaseLost, match="was taken over while process"):
            write_text(tmp_path / "new/file", "x")
        with pytest.raises(LeaseLost):
            status.end(folder, "failed")
        with pytest.raises(LeaseLost), replacing_folder(tmp_path / "model") as made:
            (made / "weights").write_text("other")
        with pytest.raises(LeaseLost):
            check_lease(folder.metrics)
        assert contents() == before
    write_text(tmp_path.parent / f"{tmp_path.name}-other", "x")  # no part of it


def test_a_lease_taken_again_counts(tmp_path: Path, age: Age) -> None:
    first = lost(tmp_path, age)
    first.release()
    with pytest.raises(LeaseLost):
        check_lease(tmp_path / "file")
    second = take(tmp_path)
    assert (first.number, second.number) == (1, 3)
    write_text(tmp_path / "file", "x")
    second.release()


def test_what_a_run_removes_itself_is_not_lost(lease: Lease) -> None:
    path = lease_files.path_of(lease.folder, 1)
    for _ in range(2):
        path.unlink()
        lease.check()
        assert path.exists()
    assert elsewhere(number_taken, lease.folder) is None


def test_a_folder_that_has_gone_has_no_other_holder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    lease = take(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    lease.check()
    (tmp_path / "run").write_text("a file")
    lease.check()
    lease.release()
    assert (tmp_path / "run").read_text() == "a file"


def test_a_file_that_another_machine_has_removed_is_gone(
    lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*arguments: Any) -> int:
        raise OSError(errno.ESTALE, "Stale file handle")

    monkeypatch.setattr(os, "open", stale)
    with pytest.raises(FileNotFoundError):
        lease_files.read(lease_files.path_of(lease.folder, 1))
    assert str(lease_files.holder(lease.folder)) == "another process"


def test_a_full_disk_has_room_for_a_lease(small_disk: Path) -> None:
    with suppress(OSError):
        (small_disk / "large").write_bytes(bytes(2**21))
    lease = take(small_disk)
    lease.check()
    assert lease_files.path_of(small_disk, 1).read_bytes() == b""
    assert elsewhere(number_taken, small_disk) is None
    lease.release()
    assert elsewhere(number_taken, small_disk) == 2


def test_a_copy_of_the_process_holds_nothing(lease: Lease, age: Age) -> None:
    def write() -> int:
        write_text(lease.folder / "file", "x")
        return len(lease_files.own_ids)

    age(lease, 1000)
    assert elsewhere(write) == 0


def test_half_written_files_of_other_machines_stay_in_shared_folders(tmp_path: Path) -> None:
    path = tmp_path / "index.csv"
    theirs = Path(on_another_machine(_begun, path))
    ours = Path(elsewhere(_begun, path))
    remove_leftovers(tmp_path)
    assert (theirs.exists(), ours.exists()) == (True, False)
    os.utime(theirs, (0, 0))
    remove_leftovers(tmp_path)
    assert not theirs.exists()
    theirs.touch()
    remove_leftovers(tmp_path, alone=True)
    assert not theirs.exists()


def _begun(path: Path) -> str:
    beside_path(path).touch()
    return str(beside_path(path))
