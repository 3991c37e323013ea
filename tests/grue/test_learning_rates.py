"""Learning rates over the iterations of a run: schedules and warm-up of every algorithm."""

from __future__ import annotations

import math
from typing import Any

import pytest

from grue.algorithms import ALGORITHMS
from grue.policies.policy import Policy
from tests.grue.conftest import causal_model
from tests.grue.exact import Subject, small_tokenizer


def rates(name: str, **keys: Any) -> list[float | None]:
    """Those of six iterations."""
    args = ALGORITHMS.get(name).args(learning_rate=2.0, **keys)
    return [args.scheduled_learning_rate(iteration, iteration / 6) for iteration in range(6)]


@pytest.mark.parametrize("name", ALGORITHMS.names())
def test_every_algorithm_has_schedules_and_warm_up(name: str) -> None:
    constant, linear, cosine = (
        {"learning_rate_schedule": schedule} for schedule in ("constant", "linear", "cosine")
    )
    assert rates(name, **constant) == [None] * 6
    falling = [2 * (1 - i / 6) for i in range(6)]
    assert rates(name, **linear) == falling
    assert rates(name, **cosine) == pytest.approx([1 + math.cos(math.pi * i / 6) for i in range(6)])
    warm = {"warmup_iterations": 3}
    assert rates(name, **constant, **warm) == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    shares = [0.25, 0.5, 0.75, 1, 1, 1]
    assert rates(name, **linear, **warm) == pytest.approx(
        [rate * share for rate, share in zip(falling, shares, strict=True)]
    )


@pytest.mark.parametrize("name", ["ppo", "reinforce", "grpo"])
def test_the_optimizer_has_the_rate_of_the_iteration(name: str) -> None:
    policy = Policy(causal_model(4), small_tokenizer("a", "b", "c"))
    subject = Subject(policy, name, prompts=["a"], num_envs=2, learning_rate=1.0,
                      warmup_iterations=1, learning_rate_schedule="linear")  # fmt: skip
    found = []
    for iteration in range(4):
        subject.algorithm.set_learning_rate(iteration, iteration / 4)
        found.append(subject.recorder.param_groups[0]["lr"])
    assert found == [0.5, 0.75, 0.5, 0.25]
