"""Inputs that are drawn by their running pass rates."""

from __future__ import annotations

import itertools
import logging
from typing import Any

import numpy as np
import pytest

from common.config.resolve import resolve
from grue.experiments.finetune.config import FinetuneConfig
from grue.policies.generation_config import GenerationConfig
from grue.rollouts.group_rules import GroupRules, InputFilter
from grue.rollouts.input_draw import InputDraw
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.settings import RolloutSettings
from tests.grue.test_critic_free import keys_of


def draw(num_inputs: int = 4, **rules: Any) -> InputDraw:
    known = {"least": 0.0, "most": 1.0, "solved": 2.0, **rules}
    settings = RolloutSettings(
        generation=GenerationConfig(), num_envs=8, num_tokens=1, samples_per_input=4,
        groups=GroupRules(input_filter=InputFilter(**known)),
    )  # fmt: skip
    return InputDraw(num_inputs, settings, seed=0)


def drawn(**rewards: list[float]) -> PendingRollout:
    """Rewards of the outputs of inputs ``i0``, ``i1`` and so on."""
    flat = np.array([reward for of_input in rewards.values() for reward in of_input])
    groups = [n for n, of_input in enumerate(rewards.values()) for _ in of_input]
    inputs = [int(name[1:]) for name, of_input in rewards.items() for _ in of_input]
    return PendingRollout(
        prompts=[[1]] * len(flat), outputs=[[1]] * len(flat), scores=[flat], groups=groups,
        inputs=inputs,
    )  # fmt: skip


SILENT, ALL, ONE = [0.0] * 4, [1.0] * 4, [0.0, 0.0, 0.0, 1.0]


def test_rates_run_over_the_first_outputs_of_each_rollout() -> None:
    own = draw()
    own.record(drawn(i0=SILENT, i1=ALL, i2=ONE, i3=[0.3] * 4))
    assert own.pass_rates == {0: 0, 1: 1, 2: 0.25, 3: 0}
    own.record(drawn(i0=ALL, i2=[*ALL, *SILENT]))
    assert own.pass_rates == {0: 0.5, 1: 1, 2: 0.625, 3: 0}
    assert own.num_drawn == 16 + 12


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ({"solved": 1.0}, [0, 2, 3]),
        ({"solved": 0.25}, [0, 3]),
        ({"least": 0.1}, [1, 2]),
        ({"least": 0.25, "most": 0.25}, [2]),
        ({"most": 0.9, "least": 0.1, "solved": 0.2}, []),
    ],
)
def test_excluded_inputs_are_not_drawn_until_none_is_left(
    rules: dict[str, float], left: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    own = draw(**rules)
    with caplog.at_level(logging.WARNING):
        own.record(drawn(i0=SILENT, i1=ALL, i2=ONE, i3=SILENT))
    assert own.left() == (left or [0, 1, 2, 3])
    assert (len(caplog.records) == 1) == (not left)
    assert own.statistics() == {"groups/inputs_left": len(left or range(4)) / 4}
    batches = list(itertools.islice(own.batches(0), 5))
    assert {row for batch in batches for row in batch} == set(left or range(4))


def test_inputs_never_drawn_may_be_drawn() -> None:
    own = draw(solved=0.5)
    own.record(drawn(i1=ALL))
    assert own.left() == [0, 2, 3]


def test_a_restored_draw_goes_on_alike() -> None:
    own, other = draw(solved=0.9), draw(solved=0.9)
    own.record(drawn(i0=SILENT, i1=ALL))
    other.load_state_dict(own.state_dict())
    for each in (own, other):
        each.record(drawn(i0=ALL))
    assert other.state_dict() == own.state_dict()
    assert next(other.batches(3)) == next(own.batches(3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg__args__difficulty_band": {"min": 0.8, "max": 0.2}},
         "'alg.args.difficulty_band.min' = 0.8: is more than 'max' = 0.2"),
        ({"alg__args__difficulty_band": {"min": 0.5}, "alg__args__solved_above": 0.5},
         "'alg.args.solved_above' = 0.5: no running pass rate is below it"),
        ({"alg__args__solved_above": 0.0},
         "'alg.args.solved_above' = 0.0: no running pass rate is below it"),
    ],
)  # fmt: skip
def test_an_empty_band_is_refused(changes: dict[str, Any], message: str) -> None:
    keys = keys_of("grpo", reward_fn__id="exact_answer", **changes)
    _, problems = resolve(FinetuneConfig, keys)
    (problem,) = map(str, problems)
    assert message in problem
