"""Parts that draw from the global generators: the same in every attempt, and training stays."""

from __future__ import annotations

import itertools
import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from common.experiment import EXPERIMENTS, Context
from common.plan.load import load_plan
from common.run.folder import RunFolder
from common.training.seeding import seed_everything, seeded
from grue.experiments.finetune.reinforcement import ReinforcementRun
from grue.experiments.finetune.supervised import SupervisedRun
from grue.random_streams import Occasion, seed_of
from grue.tasks.config import TaskConfig
from grue.tasks.inputs import read_samples
from tests.conftest import Workplace, without_seconds
from tests.grue.conftest import save_model, write
from tests.grue.parts import DRAWING, DRAWN_ANIMALS, NOISY, draw_from_all
from tests.grue.stopping import assert_equal_models, stopped_and_whole
from tests.grue.test_extract import extraction, samples_of
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def made_twice(workplace: Workplace, run: dict[str, Any]) -> list[RunFolder]:
    """A run in two plans, each made while the generators stand elsewhere."""
    for name in ("one", "two"):
        draw_from_all()
        assert workplace.run_plan(write(workplace, run, name=name)).status == 0
    return [workplace.folders(name)[0] for name in ("one", "two")]


def test_a_task_draws_the_same_samples_for_a_seed_and_leaves_the_generators() -> None:
    task = TaskConfig(id=DRAWN_ANIMALS)
    seed_everything(1)
    found = {split: read_samples(task, split, seed=7) for split in ("train", "val")}
    draws = random.random(), np.random.rand(), torch.rand(1).item()
    seed_everything(1)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == draws
    assert found == {split: read_samples(task, split, seed=7) for split in ("val", "train")}
    assert found["train"] != read_samples(task, "train", seed=8)
    first = [found[split][0].prompt.split() for split in ("train", "val")]
    assert first[0][0] == first[1][0]  # what it drew while it was built
    assert first[0][1] != first[1][1]


class Drawn:
    """Draws one number where a task makes samples."""

    def samples(self, split: str) -> list[float]:
        return [torch.rand(()).item()]


def test_a_task_draws_nothing_that_a_run_draws_on_another_occasion() -> None:
    task: Any = SimpleNamespace(id="drawn", build=Drawn)
    elsewhere = set()
    for occasion, number in itertools.product(Occasion, range(3)):
        with seeded(seed_of(occasion, number)):
            elsewhere.add(torch.rand(()).item())
    for seed, split in itertools.product(range(12), ("train", "val", "test")):
        assert read_samples(task, split, seed=seed)[0] not in elsewhere, (seed, split)


def test_an_extraction_of_drawn_data_is_the_same_twice(workplace: Workplace, model: Path) -> None:
    one, two = made_twice(workplace, extraction(model, datapool__id=DRAWN_ANIMALS))
    assert samples_of(one).equals(samples_of(two))


def test_finetuning_on_drawn_data_is_the_same_twice(workplace: Workplace, model: Path) -> None:
    short = {"alg__training_args__max_steps": 3, "datapool__id": DRAWN_ANIMALS}
    assert_equal_models(*made_twice(workplace, finetuning(model, **short)))


def test_reinforcement_with_drawn_rewards_is_the_same_twice(
    workplace: Workplace, model: Path
) -> None:
    short = {"datapool__id": DRAWN_ANIMALS, "reward_fn__id": NOISY, "train_evaluation__n_iters": 2}
    one, two = made_twice(workplace, reinforcement(model, "reinforce", **short))
    assert without_seconds(one) == without_seconds(two)
    assert_equal_models(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("make", [
    partial(finetuning, alg__training_args__max_steps=6, alg__training_args__logging_steps=2),
    partial(reinforcement, algorithm="reinforce", train_evaluation__n_iters=3, reward_fn__id=NOISY),
])  # fmt: skip
def test_a_killed_run_of_drawn_data_ends_like_a_whole_one(
    workplace: Workplace, model: Path, make: Any
) -> None:
    draw_from_all()  # whatever was drawn before
    drawn = partial(make, model, datapool__id=DRAWN_ANIMALS, log_entire_predictions=True)
    stopped, whole = stopped_and_whole(workplace, drawn, signal="SIGKILL")
    assert_equal_models(stopped, whole)
    names = [sorted(path.name for path in folder.path.glob("*predictions.json"))
             for folder in (stopped, whole)]  # fmt: skip
    assert names[0] == names[1] != []
    for name in names[0]:  # equal prompts, too
        assert (stopped.path / name).read_text() == (whole.path / name).read_text()


@pytest.mark.parametrize(("make", "kind"), [
    (finetuning, SupervisedRun), (reinforcement, ReinforcementRun),
])  # fmt: skip
def test_generators_are_seeded_before_anything_is_read(
    model: Path, workplace: Workplace, monkeypatch: pytest.MonkeyPatch, make: Any, kind: Any
) -> None:
    (planned,) = load_plan(write(workplace, make(model)), EXPERIMENTS).runs
    drawn = []

    def load(*_: Any, **__: Any) -> NoReturn:
        drawn.append(draw_from_all())
        raise UserError("enough")

    monkeypatch.setattr("grue.experiments.finetune.base.load_inputs", load)
    for _ in range(2):
        draw_from_all()
        with pytest.raises(UserError, match="enough"):
            kind(planned.config, Context(RunFolder(workplace.path), seed=5)).run()
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize("kind", ["supervised", "ppo"])
def test_what_evaluates_does_not_move_what_trains(
    workplace: Workplace, model: Path, kind: str
) -> None:
    runs = []
    for draws in (True, False):
        metrics = [{"id": DRAWING, "args": {"draws": draws}}]
        keys = {"train_evaluation__metrics": metrics, "experiment_name": f"draws_{draws}"}
        if kind == "supervised":
            runs.append(finetuning(model, **keys))
        else:
            often = {"train_evaluation__n_iters": 3, "train_evaluation__eval_every": 1}
            runs.append(reinforcement(model, reward_fn__id=NOISY, **often, **keys))
    assert workplace.run_plan(write(workplace, *runs)).status == 0
    quiet, drawing = workplace.folders()
    assert without_seconds(quiet) == without_seconds(drawing)
    assert_equal_models(quiet, drawing)


def test_a_reward_that_draws_does_not_move_what_is_dropped(
    workplace: Workplace, model: Path
) -> None:
    keys = {"train_evaluation__n_iters": 2, "alg__args__dropout": True,
            "train_evaluation__metrics": [{"id": "length"}]}  # fmt: skip
    names = [f"custom:tests.grue.parts:{name}" for name in ("quiet_vowels", "drawing_vowels")]
    runs = [reinforcement(model, "reinforce", reward_fn__id=name, **keys) for name in names]
    assert workplace.run_plan(write(workplace, *runs)).status == 0
    quiet, drawing = workplace.folders()
    assert_equal_models(quiet, drawing)
