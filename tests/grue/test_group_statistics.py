"""Statistics of groups: silent ones by kind, pass@k, and lengths of right and wrong outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grue.policies.generation_config import GenerationConfig
from grue.rollouts.group_rules import GroupRules
from grue.rollouts.group_statistics import group_statistics
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.settings import RolloutSettings
from grue.texts import Texts

REWARDS = [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1], [0.3, 0.3, 0.3, 0.3]]


def settings(samples: int = 4, max_resamples: int = 0) -> RolloutSettings:
    return RolloutSettings(generation=GenerationConfig(), num_envs=4, num_tokens=1,
                           samples_per_input=samples,
                           groups=GroupRules(max_resamples=max_resamples))  # fmt: skip


def drawn(rewards: list[list[float]]) -> PendingRollout:
    """Outputs of five tokens where they are right, and of two where they are not."""
    flat = np.array(rewards).ravel()
    outputs = [[1] * (5 if reward == 1 else 2) for reward in flat]
    groups = [group for group, of_group in enumerate(rewards) for _ in of_group]
    return PendingRollout(
        prompts=[[1]] * len(flat), outputs=outputs, scores=[flat], groups=groups, inputs=groups
    )


def test_groups_by_kind() -> None:
    every = drawn(REWARDS)
    found = group_statistics(every, every, settings(), 1.0)
    assert found == {
        "groups/constant": 0.75, "groups/mixed": 0.25, "groups/all_best": 0.25,
        "groups/all_zero": 0.25, "pass_at_k/1": 1.25 / 4, "pass_at_k/2": 1.5 / 4,
        "pass_at_k/4": 0.5, "response_length/right": 5, "response_length/wrong": 2,
    }  # fmt: skip


def test_without_a_known_largest_reward_only_constant_and_mixed() -> None:
    every = drawn(REWARDS)
    found = group_statistics(every, every, settings(), None)
    assert found == {"groups/constant": 0.75, "groups/mixed": 0.25}
    assert group_statistics(every, every, settings(samples=1), None) == {}


def test_single_outputs_are_right_or_wrong_too() -> None:
    every = drawn([[reward] for of_group in REWARDS for reward in of_group])
    assert group_statistics(every, every, settings(samples=1), 1.0) == {
        "pass_at_k/1": 5 / 16, "response_length/right": 5, "response_length/wrong": 2,
    }  # fmt: skip


def test_right_outputs_are_those_that_training_calls_right() -> None:
    every = drawn([[1, 1, 1, 1 - 5e-6], [1, 1, 1, 1 - 5e-7]])
    found = group_statistics(every, every, settings(), 1.0)
    assert found["groups/all_best"] == 0.5
    assert found["pass_at_k/1"] == every.are_right(GroupRules()).mean() == 7 / 8


def test_what_is_drawn_in_vain_is_counted_and_counts() -> None:
    every = drawn([*REWARDS, [0, 1, 0, 0]])
    kept = every.of_rows([row for group in (2, 4, 0, 1) for row in range(4 * group, 4 * group + 4)])
    found = group_statistics(every, kept, settings(max_resamples=1), None)
    assert found == pytest.approx(
        {"groups/constant": 0.6, "groups/mixed": 0.4, "groups/num_resampled": 1}
    )
    assert kept.totals().tolist() == [0, 0, 0, 1, 0, 1, 0, 0, *[0] * 4, *[1] * 4]


def test_groups_by_kind_at_each_value_of_a_metadata_key() -> None:
    every = drawn(REWARDS)
    levels = [{"level": level} for level in (2, 1, 2, 2) for _ in range(4)]
    blank = [""] * 16
    every.texts = [  # of two batches
        Texts(blank[:4], blank[:4], [[]] * 4, levels[:4]),
        Texts(blank[4:], blank[4:], [[]] * 12, levels[4:]),
    ]
    by_level = replace(settings(), group_by="level")
    found = group_statistics(every, every, by_level, 1.0)
    third = pytest.approx(1 / 3)
    without = group_statistics(every, every, settings(), 1.0)
    assert {name: found[name] for name in found.keys() - without.keys()} == {
        "groups/count_at_level_1": 1, "groups/count_at_level_2": 3,
        "groups/all_best_at_level_1": 1, "groups/all_best_at_level_2": 0,
        "groups/all_zero_at_level_1": 0, "groups/all_zero_at_level_2": third,
        "groups/mixed_at_level_1": 0, "groups/mixed_at_level_2": third,
        "groups/constant_at_level_1": 1, "groups/constant_at_level_2": pytest.approx(2 / 3),
    }  # fmt: skip
    assert found.items() >= without.items()


def test_the_part_that_decides_tells_which_groups_are_wrong() -> None:
    """A reward for the form beside it hides neither all-wrong groups nor right outputs."""
    every = drawn([[0.1] * 4, [1.1] * 4, [0, 0.1, 0, 1.1]])
    every.outputs = drawn(REWARDS[:3]).outputs
    every.parts = [{"right": np.array(REWARDS[:3]).ravel()}]
    found = group_statistics(
        every, every, replace(settings(), groups=GroupRules(silent_by="right")), 1.0
    )
    alone = drawn(REWARDS[:3])
    assert found == group_statistics(alone, alone, settings(), 1.0)
    assert found["groups/all_zero"] == pytest.approx(1 / 3)
