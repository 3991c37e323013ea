"""The life of a run that is made step by step, with a walk at random in the place of a model."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from common.config.tracking import TrackingConfig
from common.errors import Interrupted
from common.experiment import Context
from common.run.folder import RunFolder, read_json_lines, write_json
from common.run.summary import write_summary
from common.training.checkpoint_interval import Pace
from common.training.stepwise_run import StepwiseRun

STEPS = 5
ORDER = ["data", "model", "load", "start", *["step", "evaluation"] * STEPS, "save", "end",
         "summary"]  # fmt: skip


class Walk(StepwiseRun[TrackingConfig, dict[str, Any]]):
    """Adds a random number at each step; its data are a random number too."""

    num_steps = STEPS

    def __init__(self, path: Path, stop: Callable[[], bool] = lambda: False) -> None:
        path.mkdir(exist_ok=True)
        super().__init__(TrackingConfig(), Context(RunFolder(path), seed=7, stop_requested=stop))
        self.told: list[str] = []

    @property
    def file(self) -> Path:
        return self.folder.checkpoints / "state.json"

    def load_data(self) -> None:
        self.told.append("data")
        self.drawn = random.random()

    def build_model(self) -> None:
        self.told.append("model")
        self.place = random.random()

    def load_last_state(self) -> dict[str, Any] | None:
        self.told.append("load")
        return json.loads(self.file.read_text()) if self.file.exists() else None

    def lost_record(self, state: dict[str, Any]) -> str | None:
        return self.tracker.lost_rows(range(state["steps"] + 1))

    def load_state(self, state: dict[str, Any]) -> None:
        self.steps_done, self.place = state["steps"], state["place"]
        version, numbers, gauss = state["random"]
        random.setstate((version, tuple(numbers), gauss))

    def save_state(self) -> None:
        self.told.append("save")
        state = {"steps": self.steps_done, "place": self.place, "random": random.getstate()}
        write_json(self.file, state)

    def step(self) -> dict[str, float]:
        self.told.append("step")
        self.place += random.random()
        self.steps_done += 1
        return {"place": self.place}

    def evaluate_start(self) -> dict[str, float]:
        self.told.append("start")
        return {"data": self.drawn, "place": self.place}

    def evaluate_on_the_way(self) -> dict[str, float]:
        self.told.append("evaluation")
        return {"data": self.drawn}

    def evaluate_end(self) -> dict[str, float]:
        self.told.append("end")
        return {"end": self.place}

    def keeps_row(self, row: Mapping[str, Any]) -> bool:
        return super().keeps_row(row) and "end" not in row

    def summarise(self, found: Mapping[str, float]) -> float:
        self.told.append("summary")
        write_summary(self.folder, found["end"], "end")
        return found["end"]


def stopped(path: Path, after: int) -> Walk:
    """A walk that has been stopped after so many steps."""
    asked = itertools.count(1)
    walk = Walk(path, lambda: next(asked) >= after)
    with pytest.raises(Interrupted, match=f"after step {after} of {STEPS}"):
        walk.run()
    return walk


@pytest.fixture
def whole(tmp_path: Path) -> Walk:
    walk = Walk(tmp_path / "whole")
    random.seed("whatever was drawn before")
    assert walk.run() == walk.place
    return walk


def rows(walk: Walk) -> list[dict[str, Any]]:
    return read_json_lines(walk.folder.metrics)


def test_the_order_of_a_life(whole: Walk) -> None:
    assert whole.told == ORDER
    assert [row["step"] for row in rows(whole)] == [*range(STEPS + 1), STEPS]


@pytest.mark.parametrize("after", range(1, STEPS + 1))
def test_a_stopped_walk_ends_like_a_whole_one(whole: Walk, tmp_path: Path, after: int) -> None:
    stopped(tmp_path / "stopped", after)
    random.seed("something else")
    again = Walk(tmp_path / "stopped")
    assert again.run() == whole.place
    assert again.drawn == whole.drawn
    assert "start" not in again.told
    assert rows(again) == rows(whole)


@pytest.mark.parametrize("lost", [0, 2, 3])
def test_a_walk_with_a_lost_row_begins_anew(
    whole: Walk, tmp_path: Path, lost: int, caplog: pytest.LogCaptureFixture
) -> None:
    walk = stopped(tmp_path / "stopped", 3)
    kept = [row for row in rows(walk) if row["step"] != lost]
    walk.folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in kept))
    again = Walk(tmp_path / "stopped")
    assert again.run() == whole.place
    assert ("start" in again.told) == (lost == 0)  # the others' was measured before training
    assert rows(again) == rows(whole)
    assert f"has seen ({lost}); the run starts again from the beginning" in caplog.text


def test_a_checkpoint_never_counts_on_a_row_that_a_power_cut_would_lose(
    whole: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each checkpoint the machine stops, with nothing but what was synced."""
    on_disk = tmp_path / "on disk"
    monkeypatch.setattr(Pace, "is_due", lambda self, *, soon=False: True)

    class PowerCut(Exception): ...

    class Cut(Walk):
        synced = ""

        def restore(self) -> None:
            super().restore()
            sync = self.tracker.sync

            def noted() -> None:
                sync()
                self.synced = self.folder.metrics.read_text()

            self.tracker.sync = noted  # type: ignore[method-assign]

        def save_state(self) -> None:
            super().save_state()
            if self.steps_done == 3:
                self.folder.metrics.write_text(self.synced)
                raise PowerCut

    with pytest.raises(PowerCut):
        Cut(on_disk).run()
    again = Walk(on_disk)
    assert again.run() == whole.place
    assert again.told.count("step") == STEPS - 3
    assert rows(again) == rows(whole)


def test_a_walk_without_its_checkpoints_keeps_no_row_of_what_it_makes_again(
    whole: Walk, tmp_path: Path
) -> None:
    walk = stopped(tmp_path / "stopped", 2)
    shutil.rmtree(walk.folder.checkpoints)
    again = Walk(tmp_path / "stopped")
    assert again.run() == whole.place
    assert rows(again) == rows(whole)
