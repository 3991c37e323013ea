"""Rounds of outputs of the same inputs: what is drawn, what is kept, and the expected update."""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from common.config.resolve import resolve
from grue.experiments.finetune.config import FinetuneConfig
from grue.metrics.metric import NoArgs
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.rewards.reward import Reward, Rewards
from grue.rl.group_advantages import group_advantages
from grue.rollouts import collector
from grue.rollouts.group_rules import DrawMore, DrawUntil, GroupRules
from grue.rollouts.groups import groups_of, kept_outputs
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.pools import is_full, pools
from grue.rollouts.settings import RolloutSettings
from grue.texts import Texts
from tests.grue.exact import PARTS, Subject, chain, small_tokenizer
from tests.grue.test_critic_free import keys_of, small

PLAIN = {"zero_std_groups": "draw_more", "kl": {"coeff": 0.0}}


def rules(until: DrawUntil = "balanced", round_size: int = 4) -> DrawMore:
    return DrawMore(round_size=round_size, max_rounds=3, until=until)


def drawn(groups: Sequence[Sequence[float]]) -> PendingRollout:
    """Outputs in the order of their groups; numbers of outputs are their places."""
    flat = np.array([reward for group in groups for reward in group])
    numbers = [number for number, group in enumerate(groups) for _ in group]
    return PendingRollout(
        prompts=[[1]] * len(flat), outputs=[[row] for row in range(len(flat))], scores=[flat],
        groups=numbers, inputs=numbers,
    )  # fmt: skip


def settings(until: DrawUntil = "balanced", size: int = 4) -> RolloutSettings:
    groups = GroupRules(draw_more=rules(until))
    return RolloutSettings(generation=GenerationConfig(), num_envs=4, num_tokens=1,
                           samples_per_input=size, groups=groups)  # fmt: skip


def kept(groups: Sequence[Sequence[float]], size: int = 4) -> list[int]:
    """Places of the kept outputs."""
    return [row for (row,) in kept_outputs(drawn(groups), settings(size=size)).outputs]


# What is kept, and its advantages.


def test_half_of_the_kept_outputs_are_right_where_the_pool_allows() -> None:
    assert kept([[0, 0, 1, 0, 1, 1, 0, 1]]) == [0, 1, 2, 4]
    assert kept([[0, 0, 0, 0, 0, 0, 0, 1]]) == [0, 1, 2, 7]
    assert kept([[1, 1, 1, 1, 1, 1, 0, 1]]) == [0, 1, 2, 6]
    assert kept([[0.5] * 8, [1] * 8]) == [0, 1, 2, 3, 8, 9, 10, 11]
    assert kept([[1, 1, 0, 0, 0]], size=3) == [0, 2, 3], "of an odd number more are wrong"


@pytest.mark.parametrize(
    ("rewards", "balanced", "positive"),
    [
        ([0, 0, 0, 0], False, False),
        ([1, 1, 1, 1], False, True),
        ([0, 0, 0, 1], False, True),
        ([0, 1, 0, 1], True, True),
        ([0.3] * 4, False, False),
        ([0.3, 0.3, 1, 1], True, True),
    ],
)
def test_rounds_end(rewards: list[float], balanced: bool, positive: bool) -> None:
    (pool,) = pools(drawn([rewards]), settings())
    assert is_full(pool, 4, rules("balanced")) is balanced
    assert is_full(pool, 4, rules("positive")) is positive


def test_advantages_are_rewards_less_the_mean_of_the_pool() -> None:
    """The first four pools are no larger than what is kept of them."""
    mixed = [0.0] * 7 + [1.0]
    every = drawn([[0] * 4, [1] * 4, [0, 0, 0, 1], [0.3] * 4, mixed, [0.3] * 7 + [0.3 + 1e-9]])
    chosen = kept_outputs(every, settings())
    groups = groups_of(every, chosen, settings(), PendingRollout.rewards)
    assert groups is not None
    task = torch.from_numpy(chosen.totals()).view(-1, 4)
    found, _ = group_advantages(
        task, torch.zeros_like(task), baseline="group", scale=None, tolerance=1e-6, groups=groups
    )
    assert found.tolist() == [
        [0] * 4, [0] * 4, [-0.25, -0.25, -0.25, 0.75], [0] * 4, [-0.125, -0.125, -0.125, 0.875],
        [0] * 4,
    ]  # fmt: skip


def test_silence_is_decided_on_the_pool() -> None:
    """Of neither pool a right output is kept, and all four kept rewards are equal."""
    every = drawn([[0.3] * 4 + [0.4] * 4, [0.3] * 8])
    chosen = kept_outputs(every, settings())
    task = torch.from_numpy(chosen.totals()).view(-1, 4)
    assert task.tolist() == [[0.3] * 4] * 2
    groups = groups_of(every, chosen, settings(), PendingRollout.rewards)
    assert groups is not None and groups.deviate.tolist() == [True, False]
    found, _ = group_advantages(
        task, torch.zeros_like(task), baseline="group", scale=None, tolerance=1e-6, groups=groups
    )
    torch.testing.assert_close(found, torch.tensor([[-0.05] * 4, [0.0] * 4]).double())


# The expected update of a policy of three actions, against its closed form.


class First(Reward[NoArgs]):
    """1 for the action "a"."""

    def __call__(self, texts: Texts) -> Rewards:
        return np.array([float(output == "a") for output in texts.outputs])


ACTIONS = (0.25, 0.25, 0.5)
RIGHT = 1


def bandit(monkeypatch: pytest.MonkeyPatch, size: int, until: str, num_rounds: int = 2) -> Subject:
    """A policy that draws every pool as often as its probability says."""
    policy = Policy(chain([ACTIONS] * 3), small_tokenizer("a", "b"))
    num_envs = PARTS ** (size * num_rounds)
    subject = Subject(
        policy, "dr_grpo", prompts=["a"], num_envs=num_envs, num_samples_per_input=size,
        round_size=size, max_rounds=num_rounds, draw_until=until, **PLAIN,
    )  # fmt: skip
    of_one = subject.rollouts.settings.generation.model_copy(update={"max_new_tokens": 1})
    subject.rollouts.settings = dataclasses.replace(subject.rollouts.settings, generation=of_one)
    subject.rollouts.reward = First(NoArgs())

    def every(*args: Any, numbers: Sequence[int]) -> Tensor:
        places, (_, number) = torch.tensor(args[2]), numbers
        digits = [places // PARTS ** (number * size + sample) % PARTS for sample in range(size)]
        return ((torch.stack(digits, 1) + 0.5) / PARTS)[:, :, None].double()

    monkeypatch.setattr(collector, "uniforms", every)
    return subject


def ends(size: int, until: str, num_rounds: int) -> dict[tuple[int, int], float]:
    """Probabilities of a full pool's numbers of right and wrong outputs."""
    right = ACTIONS[RIGHT]
    ended, active = defaultdict[tuple[int, int], float](float), {(0, 0): 1.0}
    for number in range(num_rounds):
        after = defaultdict[tuple[int, int], float](float)
        for (good, bad), chance in active.items():
            for new in range(size + 1):
                of_new = math.comb(size, new) * right**new * (1 - right) ** (size - new)
                after[good + new, bad + size - new] += chance * of_new
        active = {}
        for (good, bad), chance in after.items():
            is_over = (
                good >= 1 if until == "positive" else good >= size // 2 and bad >= -(-size // 2)
            )
            if is_over or number == num_rounds - 1:
                ended[good, bad] += chance
            else:
                active[good, bad] = chance
    return ended


def closed_form(subject: Subject, size: int, chances: dict[tuple[int, int], float]) -> Tensor:
    """[P] sum over actions of their expected advantages times the gradient of log pi."""
    of_right = of_wrong = 0.0
    for (good, bad), chance in chances.items():
        num_right = min(max(size // 2, size - bad), good)
        mean = good / (good + bad)
        of_right += chance * num_right * (1 - mean) / size
        of_wrong += chance * (size - num_right) * -mean / size
    wrong = 1 - ACTIONS[RIGHT]
    worths = [of_right if a == RIGHT else of_wrong * ACTIONS[a] / wrong for a in range(3)]
    outputs = [[action] for action in range(3)]
    sequences = subject.policy.sequences([subject.prompts[0]] * 3, outputs)
    log_probs = subject.actor_critic.evaluate(sequences).logits[:, 0].log_softmax(-1).diagonal()
    value = (torch.tensor(worths) * log_probs).sum()
    weights = list(subject.policy.model.parameters())
    parts = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("until", ["balanced", "positive"])
@pytest.mark.parametrize("size", [2, 3])
def test_the_expected_update_and_its_cost_have_their_closed_forms(
    size: int, until: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = bandit(monkeypatch, size, until)
    chances = ends(size, until, 2)
    torch.testing.assert_close(
        subject.step(), closed_form(subject, size, chances), rtol=1e-4, atol=1e-6
    )
    _, found = subject.rollouts.collect(0, 0.0)
    num_drawn = sum((good + bad) * chance for (good, bad), chance in chances.items())
    assert found["groups/pool_size"] == pytest.approx(num_drawn, rel=1e-12)
    alike = sum(chance for (good, bad), chance in chances.items() if not good or not bad)
    assert found["groups/pool_mixed"] == pytest.approx(1 - alike, rel=1e-12)
    right, wrong = ACTIONS[RIGHT], 1 - ACTIONS[RIGHT]
    assert found["groups/mixed"] == pytest.approx(1 - right**size - wrong**size), "of first draws"


class Said(Reward[NoArgs]):
    """1 for any word."""

    def __call__(self, texts: Texts) -> Rewards:
        return np.array([float(bool(output)) for output in texts.outputs])


@pytest.mark.parametrize("seq2seq", [False, True])
def test_only_inputs_whose_pools_are_not_full_are_drawn_again(seq2seq: bool) -> None:
    args = {"num_samples_per_input": 4, "round_size": 4, "num_envs": 8, "seq2seq": seq2seq}
    subject = small("dr_grpo", **args, **PLAIN)
    subject.rollouts.reward = Said(NoArgs())
    rollout, found = subject.rollouts.collect(0, 0.0)
    assert len(rollout) == 8 * 4 and rollout.groups is not None
    assert 4 < found["groups/pool_size"] < 12
    assert found["groups/pool_mixed"] >= found["groups/mixed"]
    again, _ = subject.rollouts.collect(0, 0.0)
    assert again.outputs == rollout.outputs


# Keys that contradict each other.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"round_size": 2}, "'alg.args.round_size' = 2: is less than 'num_samples_per_input' = 4"),
        ({"advantage_scale": "group_std"}, "'advantage_scale' = 'none'"),
        ({"advantage": "leave_one_out"}, "give 'advantage' = 'group'"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    args = {"zero_std_groups": "draw_more", "num_samples_per_input": 4, **changes}
    keys = {f"alg__args__{key}": value for key, value in args.items()}
    _, problems = resolve(FinetuneConfig, keys_of("dr_grpo", **keys))
    (problem,) = map(str, problems)
    assert message in problem
