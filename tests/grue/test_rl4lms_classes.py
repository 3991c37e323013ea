"""Classes written for RL4LMs are refused before the start, with what to change in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Workplace
from tests.grue.conftest import write
from tests.grue.parts import ANIMALS
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

HERE = f"custom:{__name__}:"


class TheirMetric:
    def compute(self, prompt_texts: Any, generated_texts: Any, reference_texts: Any) -> Any:
        return {"their/metric": ([1.0] * len(generated_texts), 1.0)}


class TheirReward:
    def __call__(
        self, prev_observation: Any, action: int, current_observation: Any, done: bool,
        meta_info: Any = None,
    ) -> float:  # fmt: skip
        return float(done)


class TheirBatchedReward:
    def __call__(self, prompt_texts: Any, gen_texts: Any, ref_texts: Any, dones: Any) -> Any:
        return [1.0] * len(gen_texts)


class TheirPool:
    @classmethod
    def prepare(cls, split: str, **args: Any) -> Any:
        return cls()


class Nothing:
    """No part at all."""


def test_they_are_told_apart_and_how_to_change_them(workplace: Workplace, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    outcome = workplace.run_plan(
        write(
            workplace,
            finetuning(folder, train_evaluation__metrics=[{"id": f"{HERE}TheirMetric"}]),
            reinforcement(folder, reward_fn__id=f"{HERE}TheirReward"),
            reinforcement(folder, reward_fn__id=f"{HERE}TheirBatchedReward"),
            finetuning(folder, datapool__id=f"{HERE}TheirPool"),
            finetuning(folder, datapool__id=f"{HERE}Nothing"),
        )
    )
    assert outcome.status == 2
    first, *blocks = outcome.err.split("configurations[")[1:]
    told = [first, *blocks]
    assert (
        "TheirMetric is no grue.metrics.metric.Metric; it looks like RL4LMs' BaseMetric" in told[0]
    )
    assert "give scores(self, texts)" in told[0]
    for block in told[1:3]:
        assert "it looks like RL4LMs' RewardFunction: write it as a function f(prompts" in block
    assert "it looks like RL4LMs' TextGenPool" in told[3]
    assert "give samples(self, split)" in told[3]
    assert "Nothing is no grue.tasks.task.Task; give a class" in told[4]


@pytest.mark.parametrize("name", [f"{HERE}TheirPool", ANIMALS])
def test_such_a_task_of_a_new_model_is_refused_too(workplace: Workplace, name: str) -> None:
    new = {"experiment": "grue_new_model", "datapools": [{"id": name}], "vocab_size": 300}
    assert workplace.run_plan(write(workplace, new)).status == (0 if name == ANIMALS else 2)
