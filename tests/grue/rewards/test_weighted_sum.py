"""Weighted sums of rewards, and the means of their parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from common.config.resolve import resolve
from common.errors import UserError
from grue.metrics.metric import NoArgs
from grue.policies.policy import Policy
from grue.rewards.config import RewardConfig
from grue.rewards.reward import Reward, Rewards
from grue.rewards.weighted_sum import WeightedSum, WeightedSumArgs
from grue.texts import Texts
from tests.grue.judging import texts
from tests.grue.test_rollouts import SETTINGS, rollouts

RIGHT = {"id": "exact_answer", "weight": 2.0}
BOXED = {"id": "answer_given", "args": {"extract": ["boxed"]}, "weight": -0.5, "name": "boxed"}
LETTERS = {"id": "custom:tests.grue.parts:Letters"}
OUTPUTS = texts(["12", r"\boxed{13}", r"\boxed{12}", "none"], [["12"]] * 4)


class EachToken(Reward[NoArgs]):
    """One number for each of five tokens."""

    def __call__(self, texts: Texts) -> Rewards:
        return np.ones((len(texts), 5))


def halves(prompts: Any, outputs: list[str], *_: Any) -> list[list[float]]:
    lengths = {"12": 2, r"\boxed{13}": 5, r"\boxed{12}": 4, "none": 1}
    return [[0.5] * lengths[output] for output in outputs]


def config(*rewards: dict[str, Any]) -> RewardConfig:
    return RewardConfig(id="weighted_sum", args={"rewards": list(rewards)})


def told(*rewards: dict[str, Any]) -> str:
    keys = {"id": "weighted_sum", "args": {"rewards": list(rewards)}}
    return "\n".join(map(str, resolve(RewardConfig, keys)[1]))


def test_rewards_are_added_with_their_weights() -> None:
    made = config(RIGHT, BOXED).build()
    assert made.needs_references
    assert made(OUTPUTS).tolist() == [2, -0.5, 1.5, 0]
    total, parts = made.with_parts(OUTPUTS)
    assert total.tolist() == [2, -0.5, 1.5, 0]
    assert {name: values.tolist() for name, values in parts.items()} == {
        "exact_answer": [1, 0, 1, 0],
        "boxed": [0, 1, 1, 0],
    }
    assert tuple(parts) == made.part_names
    assert not config(LETTERS).build().needs_references


def test_a_sum_may_be_of_sums() -> None:
    inner = {"id": "weighted_sum", "args": {"rewards": [RIGHT, BOXED]}, "weight": 2}
    assert config(inner, RIGHT).build()(OUTPUTS).tolist() == [6, -1, 5, 0]


def test_the_largest_sum_is_known_where_that_of_all_parts_is() -> None:
    assert config(RIGHT, {**BOXED, "weight": 0.5}).build().largest == 2.5
    assert config(RIGHT, LETTERS).build().largest is None
    assert config(RIGHT, BOXED).build().largest is None, "a right output may lose by the second"


def test_the_largest_sum_of_sums_is_known_before_it_is_built() -> None:
    inner = {"id": "weighted_sum", "args": {"rewards": [RIGHT]}, "weight": 3.0, "name": "inner"}
    args = WeightedSumArgs.model_validate({"rewards": [RIGHT, inner]})
    assert WeightedSum.largest_of(args) == WeightedSum(args).largest == 8
    assert WeightedSum.largest_of(args, "inner") == 2


def test_problems_are_told_of_their_reward() -> None:
    boxes = {**BOXED, "args": {"extract": ["box"]}}
    assert "'args.rewards[1].args.extract[0]' = 'box': unknown" in told(RIGHT, boxes)
    assert "'args.rewards[0].id' = 'exact_anser'" in told({"id": "exact_anser"})
    assert "'args.rewards'" in told()
    assert "2 rewards are called 'exact_answer'" in told(RIGHT, RIGHT)
    assert not told(RIGHT, {**RIGHT, "name": "again"})
    assert "'args.rewards[0].name' = 'a b'" in told({**RIGHT, "name": "a b"})


def test_needs_are_told_of_their_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("grue.metrics.meteor.why_missing", lambda *_: "WordNet is missing")
    (problem,) = config(RIGHT, {"id": "meteor"}).missing()
    assert problem.key == "args.rewards[1].id"


def test_weights_and_inner_keys_count_for_a_runs_identity() -> None:
    known = [config(RIGHT, BOXED), config({**RIGHT, "weight": 1.0}, BOXED), config(RIGHT),
             config({**RIGHT, "args": {"graded": True}}, BOXED)]  # fmt: skip
    assert len({str(one.identity()) for one in known}) == 4
    graded = {**RIGHT, "args": {"graded": False}}
    assert config(graded, BOXED).identity() == config(RIGHT, BOXED).identity()


def test_rewards_of_tokens_are_added_token_by_token() -> None:
    """And those of whole outputs at the last token."""
    counted = replace(OUTPUTS, num_tokens=[2, 5, 4, 1])
    halves = {"id": f"custom:{EachToken.__module__}:halves", "weight": 2.0}
    total, parts = config(RIGHT, halves, BOXED).build().with_parts(counted)
    assert total.tolist() == [
        [1, 3, 0, 0, 0],
        [1, 1, 1, 1, 0.5],
        [1, 1, 1, 2.5, 0],
        [1, 0, 0, 0, 0],
    ]
    assert {name: values.tolist() for name, values in parts.items()} == {
        "exact_answer": [1, 0, 1, 0],
        "halves": [1, 2.5, 2, 0.5],
        "boxed": [0, 1, 1, 0],
    }
    assert config(RIGHT, halves).build().needs_tokens is False


def test_a_part_of_a_wrong_length_is_named() -> None:
    name = f"custom:{EachToken.__module__}:EachToken"
    counted = replace(OUTPUTS, num_tokens=[5, 5, 6, 5])
    with pytest.raises(
        UserError, match=r"EachToken' gave 5 numbers for .*'\\\\boxed\{12\}', which has 6"
    ):
        config(RIGHT, {"id": name}).build()(counted)


def test_a_rollout_has_the_mean_of_each_part(causal_policy: Policy) -> None:
    vowels = {**LETTERS, "weight": 3.0}
    length = {"id": "length", "weight": 0.25}
    collector = rollouts(causal_policy, SETTINGS)
    alone, _ = collector.collect(0, 0.1)
    made = config(vowels, length).build()
    assert isinstance(made, WeightedSum)
    collector.reward = made
    rollout, statistics = collector.collect(0, 0.1)
    means = [statistics[f"reward_parts/{name}"] for name in ("Letters", "length")]
    assert means[0] == pytest.approx(alone.task_rewards.sum(1).mean().item(), rel=1e-6)
    assert means[1] > 0
    total = rollout.task_rewards.sum(1).mean().item()
    assert 3 * means[0] + 0.25 * means[1] == pytest.approx(total, rel=1e-6)
    assert statistics["rollout_info/ep_rew"] == pytest.approx(total, rel=1e-6)
