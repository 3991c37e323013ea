"""A number of outputs drawn as the length of a run, counted with those drawn in vain."""

from __future__ import annotations

import itertools
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from common.config.resolve import resolve
from common.run.folder import RunFolder, read_json
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.finetune.reinforcement import ReinforcementRun
from tests.conftest import Workplace
from tests.grue.conftest import nested, save_model
from tests.grue.parts import EVEN
from tests.grue.stopping import assert_equal_models, stopped_and_whole
from tests.grue.test_ranks import supervised
from tests.grue.test_reinforcement import reinforcement, rows_of

MOST = 150
DRAWING = {
    "zero_std_groups": "draw_more", "num_samples_per_input": 2, "round_size": 2, "max_rounds": 3,
    "learning_rate_schedule": "linear", "solved_above": 0.75,
}  # fmt: skip


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def drawn_by(folder: RunFolder) -> list[int]:
    """Outputs drawn until the end of each iteration."""
    return [row["elapsed/samples"] for row in rows_of(folder) if "elapsed/samples" in row]


def test_a_run_ends_when_it_has_drawn_enough_also_if_it_is_stopped(
    workplace: Workplace, model: Path
) -> None:
    args = {f"alg__args__{key}": value for key, value in DRAWING.items()}
    sizes: dict[str, Any] = {"n_iters": 50, "eval_every": 2, "max_samples": MOST, "save_every": 1}
    short = {f"train_evaluation__{key}": value for key, value in sizes.items()}
    make = partial(reinforcement, model, "dr_grpo", reward_fn__id=EVEN, **args, **short)
    stopped, whole = stopped_and_whole(workplace, make)
    assert_equal_models(stopped, whole)
    drawn = drawn_by(whole)
    assert drawn_by(stopped) == drawn
    assert 3 < len(drawn) < 50
    assert drawn[-2] < MOST <= drawn[-1]
    of_iterations = [after - before for before, after in itertools.pairwise([0, *drawn])]
    assert all(16 <= number <= 48 for number in of_iterations)
    assert len(set(of_iterations)) > 1, "some are drawn in vain"
    rows = rows_of(whole)
    assert rows[-2]["elapsed/episodes"] == 16 * len(drawn) < drawn[-1]
    assert rows[-1]["step"] == rows[-2]["step"] == len(drawn), "then the last evaluation"
    assert any(name.startswith("test/") for name in rows[-1])
    assert whole.read_status()["status"] == "done"
    assert read_json(whole.summary)["last"].keys() == {
        name for name in rows[-1] if name.startswith(("val/", "test/"))
    }


@pytest.mark.parametrize(
    ("most", "drawn", "progress", "num_steps"),
    [(None, 90, 0.25, 8), (100, 10, 0.25, 8), (100, 90, 0.9, 8), (100, 100, 1.0, 2)],
)
def test_schedules_end_with_the_nearer_end(
    most: int | None, drawn: int, progress: float, num_steps: int
) -> None:
    sizes = SimpleNamespace(n_iters=8, max_samples=most)
    run: Any = SimpleNamespace(
        config=SimpleNamespace(train_evaluation=sizes), steps_done=2,
        rollouts=SimpleNamespace(draw=SimpleNamespace(num_drawn=drawn)),
    )  # fmt: skip
    assert ReinforcementRun.progress.__get__(run) == progress
    assert ReinforcementRun.num_steps.__get__(run) == num_steps


def test_supervised_finetuning_has_no_such_length() -> None:
    keys = supervised(Path("model")) | {"train_evaluation.max_samples": 10}
    keys.pop("experiment")
    _, problems = resolve(FinetuneConfig, nested(keys))
    (problem,) = map(str, problems)
    assert "'train_evaluation.max_samples' = 10: supervised finetuning draws no outputs" in problem
