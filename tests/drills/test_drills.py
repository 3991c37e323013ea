"""A short choice of the drills."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drills import disks
from tests.drills.damage import is_executed
from tests.drills.drill import Ground, Size, damaged_files
from tests.drills.sameness import differences
from tests.small_disks import small_disk

__all__ = ["small_disk"]

_SMALL = Size(controlled=1, text=1, length=2, workers=2, kills=4, troubles=4)


@pytest.mark.slow
def test_a_plan_that_is_killed_and_damaged_ends_with_equal_results(tmp_path: Path) -> None:
    ground = Ground(tmp_path, _SMALL)
    damaged_files(ground)
    (weights,) = tmp_path.glob("damaged_files/outputs/exps/plan/sft-*/model/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = differences(weights.parents[2], ground.undisturbed())
    assert found == [str(weights.relative_to(weights.parents[2]))]


def test_code_that_a_drill_puts_into_a_checkpoint_would_run(tmp_path: Path) -> None:
    assert is_executed(tmp_path / "marker", tmp_path)


def test_a_disk_in_need_takes_nothing_and_has_room_afterwards(small_disk: Path) -> None:
    with disks.full(small_disk), pytest.raises(OSError, match="No space left"):
        (small_disk / "file").write_bytes(bytes(8192))
    (small_disk / "file").write_bytes(bytes(8192))
