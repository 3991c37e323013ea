"""A disk that is full, a quota that is used up and a limit on file sizes interrupt a plan."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from common.files.no_space import NoSpace, no_space
from common.run.folder import replacing, write_text
from tests.common.plans import index, toy
from tests.conftest import TINY_DIGITS, TOY, Workplace
from tests.small_disks import brief_provenance, files_of_at_most, small_disk

__all__ = ["brief_provenance", "small_disk"]

TENSOR = {"weights": torch.zeros(100_000)}
LIMIT = 100_000  # bytes


def save_parquet(path: Path) -> None:
    pd.DataFrame({"a": np.random.default_rng(0).random(100_000)}).to_parquet(path)


def save_vocabulary(path: Path) -> None:
    words = {f"a rather long word {i}": i for i in range(10_000)}
    Tokenizer(WordLevel(words, unk_token=next(iter(words)))).save(str(path))


def save_replacing(path: Path) -> None:
    with replacing(path) as file:
        torch.save(TENSOR, file)


WRITERS: list[Callable[[Path], object]] = [
    lambda path: path.write_bytes(bytes(2 * LIMIT)),
    lambda path: torch.save(TENSOR, path),
    lambda path: save_file(TENSOR, path),
    save_parquet,
    save_vocabulary,
    save_replacing,
]


@pytest.mark.parametrize("write", WRITERS)
def test_the_lack_of_room_is_found_in_the_words_of_every_library(
    write: Callable[[Path], object], tmp_path: Path
) -> None:
    with files_of_at_most(LIMIT), pytest.raises(Exception) as caught:
        write(tmp_path / "file")
    found = no_space(caught.value, tmp_path)
    assert found is not None
    assert str(tmp_path) in str(found)


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "broken"), RuntimeError("inline_container.cc: failed finding"),
              ValueError("(os error 2)")]
)  # fmt: skip
def test_other_errors_are_no_lack_of_room(error: Exception, tmp_path: Path) -> None:
    assert no_space(error, tmp_path) is None


def test_what_was_there_stays_and_the_message_names_path_and_need(small_disk: Path) -> None:
    path = small_disk / "file.txt"
    write_text(path, "old")
    with pytest.raises(NoSpace, match=r"file\.txt does not fit: .*it needs 2 MB.* are free"):
        write_text(path, "x" * 2_000_000)
    assert path.read_text() == "old"
    assert [file.name for file in small_disk.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("scheduling", [{}, {"multiprocess": True}, {"vectorize": True}], ids=str)
def test_a_run_that_finds_no_room_is_gone_on_with_and_nothing_more_is_begun(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    large = {**TINY_DIGITS, "mlp_hidden_layer_sizes": [10_000], "epochs": 1}
    first, second = ({**large, "experiment_name": name} for name in ("first", "second"))
    second["num_train_samples"] = 50  # so that it is not made together with the first
    plan = workplace.write_plan(
        configurations=[{"base_config": first}, {"base_config": second}], **scheduling
    )
    with files_of_at_most(2_000_000):
        outcome = workplace.run_plan(plan)
    assert outcome.status == 1
    (folder,) = workplace.folders()
    assert folder.read_status()["status"] == "interrupted"
    reason = folder.read_status()["reason"]
    assert "checkpoints/last.pt does not fit" in reason
    assert "it needs 3" in reason and "MB, the limit is 2 MB" in reason
    assert outcome.err.count("Traceback") == 0
    assert "nothing more was begun" in outcome.err
    assert {name: row["status"] for name, row in index(workplace).items()} == {
        "first": "interrupted", "second": "waiting"
    }  # fmt: skip
    assert workplace.run_plan(plan).status == 0
    assert {row["status"] for row in index(workplace).values()} == {"done"}


def test_a_full_disk_interrupts_the_plan_without_a_traceback(
    workplace: Workplace, small_disk: Path, brief_provenance: None
) -> None:
    """What fills the disk to its last byte leaves no room for a status either."""
    configurations = [
        toy(outputs_dir=str(small_disk), epochs=1000, random_seed=seed) for seed in (1, 2)
    ]
    plan = workplace.write_plan(experiment=TOY, configurations=configurations)
    for kilobytes in (0, 40, 80, 120):
        filler = small_disk / "filler"
        filler.write_bytes(bytes(2**20 - 1024 * kilobytes - used(small_disk)))
        outcome = workplace.run_plan(plan)
        assert outcome.status in (1, 2), kilobytes
        assert "Traceback" not in outcome.err
        assert "Logging error" not in outcome.err
        assert "does not fit" in outcome.err or "cannot be made" in outcome.err
        filler.unlink()
    assert workplace.run_plan(plan).status == 0


def test_a_disk_that_turns_read_only_interrupts_as_well(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the run's doing, it is gone on with by the same command once the disk is writable."""
    written = Path.open

    def opened(self: Path, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if "summary.json" in self.name and "w" in mode:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return written(self, mode, *arguments, **options)

    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        outcome = workplace.run_plan(plan)
    assert outcome.status == 1
    found = workplace.folders()[0].read_status()
    assert found["status"] == "interrupted"
    assert "summary.json cannot be written: the disk has become read-only" in found["reason"]
    assert "nothing more was begun" in outcome.err
    assert workplace.run_plan(plan).status == 0


def used(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def test_a_quota_interrupts_as_well(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Network disks tell of it when a file is synced."""
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        if "summary.json" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        sync(descriptor)

    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fsync)
        assert workplace.run_plan(plan).status == 1
    found = workplace.folders()[0].read_status()
    assert (found["status"], "your quota" in found["reason"]) == ("interrupted", True)
    assert workplace.run_plan(plan).status == 0
