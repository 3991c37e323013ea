"""Damaged checkpoints of fits: each is named, the last good one is gone on from and survives."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import UserError
from common.run.folder import RunFolder, write_json
from common.training import checkpoint
from tests.common.plans import toy
from tests.conftest import TOY, Workplace, without_seconds

Damage = Callable[[Path], None]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    """Changes one byte of a tensor, which torch alone would not find."""
    with zipfile.ZipFile(path) as file:
        part = max(file.infolist(), key=lambda part: part.file_size)
    content = bytearray(path.read_bytes())
    start = content.find(part.filename.encode()) + len(part.filename)
    content[start + part.file_size // 2] ^= 255
    path.write_bytes(content)


def changed(**values: Any) -> Damage:
    """A whole file in which other values stand, or none."""

    def damage(path: Path) -> None:
        state = {**torch.load(path, weights_only=True), **values}
        torch.save({key: state[key] for key in state if values.get(key, 0) is not None}, path)

    return damage


DAMAGES = {
    "cut": cut,
    "empty": empty,
    "flip": flip,
    "no epoch": changed(epoch=None),
    "no optimizer": changed(optimizer=None),
    "epoch of text": changed(epoch="2"),
    "empty optimizer": changed(optimizer={"state": {}, "param_groups": []}),
    "other weights": changed(model={"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}),
}


@pytest.fixture
def run(workplace: Workplace) -> tuple[Path, RunFolder]:
    """The plan and the folder of a run that can be gone on with.

    Its last state is that after three epochs, and the one before it that before the first.
    """
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    write_json(folder.status, {**folder.read_status(), "status": "interrupted"})
    return plan, folder


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_named_and_the_one_before_gone_on_from(
    workplace: Workplace, run: tuple[Path, RunFolder], damage: Damage
) -> None:
    plan, folder = run
    rows, weights = without_seconds(folder), _weights(folder)
    damage(folder.checkpoints / "last.pt")
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0, outcome.err
    assert "last.pt is damaged" in folder.log.read_text()
    assert "last.pt is damaged" in outcome.err and "previous.pt" in outcome.err
    assert without_seconds(folder) == rows
    assert all(torch.equal(a, b) for a, b in zip(weights, _weights(folder), strict=True))


@pytest.mark.parametrize("damage", [cut, changed(epoch=None)])
def test_with_both_damaged_the_run_begins_anew_and_says_so(
    workplace: Workplace, run: tuple[Path, RunFolder], damage: Damage
) -> None:
    plan, folder = run
    rows = without_seconds(folder)
    for name in ("last.pt", "previous.pt"):
        damage(folder.checkpoints / name)
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0
    for said in ("last.pt is damaged", "previous.pt is damaged", "starts again"):
        assert said in outcome.err
    assert without_seconds(folder) == rows


def test_without_damage_nothing_is_said(workplace: Workplace, run: tuple[Path, RunFolder]) -> None:
    plan, _ = run
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0
    assert "damaged" not in outcome.err


def test_a_state_that_does_not_fit_is_no_traceback(
    workplace: Workplace, run: tuple[Path, RunFolder]
) -> None:
    plan, folder = run
    for name in ("last.pt", "previous.pt"):
        changed(random={"python": 3})(folder.checkpoints / name)
    assert workplace.run_plan(plan).status == 1
    reason = folder.read_status()["reason"]
    assert "last.pt does not fit the run" in reason and "--fresh" in reason


@pytest.mark.parametrize("damage", [cut, flip, empty, Path.unlink])
@pytest.mark.parametrize("killed_after", range(3))
def test_the_good_state_before_survives_a_writer_that_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Damage, killed_after: int
) -> None:
    """Whatever rename is the last one that is made, a good state is found."""
    for number in range(2):
        checkpoint.save_last(tmp_path, {"number": number, "weights": torch.ones(500)})
    damage(tmp_path / "last.pt")
    with monkeypatch.context() as patch, _killed_after(patch, killed_after):
        checkpoint.save_last(tmp_path, {"number": 2, "weights": torch.ones(500)})
    state = checkpoint.load_last(tmp_path)
    assert state is not None
    assert state["number"] in (0, 2)
    before = tmp_path / "previous.pt"
    assert state["number"] == 0 or checkpoint.load(before)["number"] == 0


class _Killed(BaseException):
    pass


@contextlib.contextmanager
def _killed_after(patch: pytest.MonkeyPatch, most: int) -> Iterator[None]:
    """A block in which ``most`` renames are made, and the next one ends it."""
    rename, made = Path.replace, 0

    def counted(self: Path, target: Any) -> Path:
        nonlocal made
        made += 1
        if made > most:
            raise _Killed
        return rename(self, target)

    patch.setattr(Path, "replace", counted)
    with contextlib.suppress(_Killed):
        yield


def _weights(folder: RunFolder) -> list[torch.Tensor]:
    return list(checkpoint.load(folder.checkpoints / "last.pt")["model"].values())


@pytest.mark.parametrize(
    "error", [MemoryError("no room"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_lack_of_memory_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for number in range(2):
        checkpoint.save_last(tmp_path, {"number": number})

    def load(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("torch.load", load)
        with pytest.raises(type(error)):
            checkpoint.load_last(tmp_path)
    state = checkpoint.load_last(tmp_path)
    assert state == {"number": 1}


def test_a_folder_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; name the checkpoint in it"):
        checkpoint.load(tmp_path)
