"""Groups that an update uses: silent by a part of the reward, or filtered by their variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from common.config.resolve import resolve
from grue.experiments.finetune.config import FinetuneConfig
from grue.metrics.metric import NoArgs
from grue.rewards.reward import Reward, Rewards
from grue.rl.group_advantages import Groups, group_advantages
from grue.rl.group_filter import of_largest_number, of_largest_share
from grue.texts import Texts
from tests.grue.exact import Subject
from tests.grue.test_critic_free import keys_of, moved, small, updated

REWARDS = torch.tensor(
    [[0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1], [0.3, 0.3, 0.3, 0.3], [0, 0, 1, 1]],
    dtype=torch.float64,
)
VARIANCES = REWARDS.var(1)
"""0, 0, 1/4, 0 and 1/3."""


@pytest.mark.parametrize(
    ("share", "used"),
    [(0.01, [4]), (4 / 7, [4]), (0.6, [2, 4]), (1.0, [2, 4])],
)
def test_the_fewest_groups_have_a_share_of_the_variance(share: float, used: list[int]) -> None:
    assert of_largest_share(VARIANCES, share).nonzero().flatten().tolist() == used


@pytest.mark.parametrize(("number", "used"), [(1, [4]), (2, [2, 4]), (4, [2, 4]), (9, [2, 4])])
def test_silent_groups_are_not_among_the_largest(number: int, used: list[int]) -> None:
    assert of_largest_number(VARIANCES, number).nonzero().flatten().tolist() == used


def test_of_silent_groups_alone_none_is_used() -> None:
    silent = torch.zeros(3, dtype=torch.float64)
    assert not of_largest_share(silent, 0.5).any() and not of_largest_number(silent, 2).any()


def test_of_equal_variances_the_first_are_used() -> None:
    equal = torch.full((10,), 0.1, dtype=torch.float64)
    assert of_largest_share(equal, 0.3).tolist() == [True] * 3 + [False] * 7
    assert of_largest_number(equal, 3).tolist() == [True] * 3 + [False] * 7


@pytest.mark.parametrize("scale", [None, "group_std", "batch_std", "rollout_std", "group_mean"])
@pytest.mark.parametrize("baseline", ["group", "leave_one_out"])
def test_groups_that_are_silent_by_a_part_have_no_advantage(
    baseline: str, scale: str | None
) -> None:
    """The second part, 0.1 or 0.2 for the form, differs in every group."""
    form = torch.tensor([0.1, 0.2, 0.1, 0.1], dtype=torch.float64)
    task, penalties = REWARDS + form, 0.01 * REWARDS
    groups = Groups(VARIANCES > 0, VARIANCES, REWARDS[:, 0])
    found, of_penalties = group_advantages(
        task, penalties, baseline=baseline, scale=scale, tolerance=1e-6, groups=groups
    )
    assert (found[[0, 1, 3]] == 0).all()
    assert (found[[2, 4]].abs().amax(1) > 0.1).all()
    plain, of_all = group_advantages(task, penalties, baseline=baseline, scale=None, tolerance=1e-6)
    assert torch.equal(of_penalties, of_all)
    if scale is None:
        assert torch.equal(found[[2, 4]], plain[[2, 4]])


class Parted(Reward[NoArgs]):
    """Outputs without a "c" at the end are right for one prompt; the form differs everywhere."""

    part_names = ("right", "form")

    def __call__(self, texts: Texts) -> Rewards:
        return self.with_parts(texts)[0]

    def with_parts(self, texts: Texts) -> tuple[Rewards, Mapping[str, Rewards]]:
        pairs = list(zip(texts.prompts, texts.outputs, strict=True))
        right = np.array([float(prompt == "b" and output[-1:] != "c") for prompt, output in pairs])
        form = np.array([0.1 * len(output) for output in texts.outputs])
        return right + form, {"right": right, "form": form}


def parted(algorithm: str = "grpo", **args: Any) -> Subject:
    args = {"kl": {"coeff": 0.0}, "silent_by": "right", **args}
    subject = moved(small(algorithm, num_envs=8, num_samples_per_input=4, **args))
    subject.rollouts.reward = Parted(NoArgs())
    return subject


def right_of(subject: Subject, prompts: Sequence[Any]) -> list[bool]:
    """Whether prompts are those whose outputs may be right."""
    return [prompt == subject.prompts[0] for prompt in prompts]


@pytest.mark.parametrize("seq2seq", [False, True])
def test_a_part_decides_on_kept_groups(seq2seq: bool) -> None:
    subject = parted(seq2seq=seq2seq)
    rollout, found = subject.rollouts.collect(0, 0.0)
    (gradient,), _ = updated(subject)
    assert gradient.norm() > 0
    algorithm: Any = subject.algorithm
    advantages = algorithm._with_advantages(rollout).advantages.abs().amax(1).view(8, 4).amax(1)
    deviate = rollout.groups.deviate
    assert ((advantages > 0) == deviate).all() and 0 < deviate.sum() < 8
    may_be_right = right_of(subject, rollout.prompts[::4])
    assert not deviate[~torch.tensor(may_be_right)].any()
    assert found["groups/mixed"] == deviate.double().mean()


class Curt(Parted):
    """The first prompt's outputs are right, and cost more than half of that by their form."""

    def with_parts(self, texts: Texts) -> tuple[Rewards, Mapping[str, Rewards]]:
        right = np.array([float(prompt == "b") for prompt in texts.prompts])
        form = -0.5 - 0.1 * np.array([len(output) for output in texts.outputs])
        return right + form, {"right": right, "form": form}


def test_a_part_decides_which_silent_groups_are_right() -> None:
    subject = parted(zero_std_groups="entropy_shaped", advantage_scale="none")
    subject.rollouts.reward = Curt(NoArgs())
    rollout, _ = subject.rollouts.collect(0, 0.0)
    algorithm: Any = subject.algorithm
    signs = algorithm._silent_signs(rollout).view(8, 4)[:, 0]
    may_be_right = torch.tensor(right_of(subject, rollout.prompts[::4]))
    assert (signs == torch.where(may_be_right, 1.0, -1.0)).all() and signs.unique().numel() == 2


def test_a_part_decides_which_groups_are_dropped_and_drawn_again() -> None:
    (kept,), _ = updated(parted())
    (dropped,), found = updated(parted(zero_std_groups="drop"))
    torch.testing.assert_close(dropped, kept, rtol=1e-4, atol=1e-7)
    assert 0 < found["groups/used"] == found["groups/mixed"] < 1
    subject = parted("dapo", zero_std_groups="resample", overlong_buffer=None)
    rollout, found = subject.rollouts.collect(0, 0.0)
    assert all(right_of(subject, rollout.prompts)) and found["groups/num_resampled"] > 0


def filtered(**args: Any) -> tuple[Tensor, dict[str, float]]:
    (gradient,), found = updated(parted("dr_grpo", silent_by=None, **args))
    return gradient, found


def test_updates_use_the_groups_of_the_largest_variance() -> None:
    every, _ = filtered()
    all_of_them, found = filtered(filter_by_std={"top_p": 1.0})
    torch.testing.assert_close(all_of_them, every, rtol=1e-4, atol=1e-7)
    assert found["groups/used"] == found["groups/mixed"]
    one, found = filtered(filter_by_std={"top_k": 1})
    assert found["groups/used"] == 1 / 8
    assert one.norm() > 0 and not torch.allclose(one, every)
    alone, _ = filtered(filter_by_std={"top_k": 1}, count_dropped=False, zero_std_groups="drop")
    torch.testing.assert_close(alone, 8 * one, rtol=1e-4, atol=1e-7)


REASON = "names no part of 'reward_fn'"
TWO = [{"id": "length"}, {"id": "length", "name": "form"}]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg__args__silent_by": "right"}, f"{REASON}: 'custom:tests.grue.parts:Letters' has no"),
        ({"alg__args__silent_by": "right", "reward_fn__id": "weighted_sum",
          "reward_fn__args__rewards": TWO}, f"{REASON}: its parts are 'length', 'form'"),
        ({"alg__args__filter_by_std": {"top_k": 1000}}, "groups; lower it"),
        ({"alg__args__filter_by_std": {}}, "needs one of 'top_p' and 'top_k'"),
        ({"alg__args__filter_by_std": {"top_k": 1}, "alg__args__zero_std_groups": "entropy_shaped",
          "reward_fn__id": "exact_answer"}, "leaves silent groups out, which 'entropy_shaped'"),
        ({"alg__args__filter_by_std": {"top_p": 0.9}, "alg__args__zero_std_groups": "virtual_best",
          "reward_fn__id": "exact_answer"}, "leaves silent groups out, which 'virtual_best'"),
        ({"alg__args__filter_by_std": {"top_p": 0.5, "top_k": 1}}, "needs one of"),
        ({"alg__args__silent_by": "form", "reward_fn__id": "weighted_sum",
          "reward_fn__args__rewards": TWO, "alg__args__zero_std_groups": "virtual_best"},
         "'virtual_best' has no silent groups"),
        ({"alg__args__silent_by": "form", "reward_fn__id": "weighted_sum",
          "reward_fn__args__rewards": TWO, "alg__args__advantage": "running_mean",
          "alg__args__advantage_scale": "none"}, "no effect on 'advantage' = 'running_mean'"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    _, problems = resolve(FinetuneConfig, keys_of("grpo", **changes))
    (problem,) = map(str, problems)
    assert message in problem


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"alg__args__advantage": "none", "alg__args__solved_above": 0.9},
        {"alg__args__advantage": "none", "alg__args__filter_by_std": {"top_k": 1}},
        {"alg__args__advantage": "running_mean", "alg__args__zero_std_groups": "drop"},
    ],
)
def test_a_part_of_a_weighted_sum_is_accepted(changes: dict[str, Any]) -> None:
    if changes:
        changes = {**changes, "alg__args__advantage_scale": "none"}
    keys = keys_of("grpo", reward_fn__id="weighted_sum", reward_fn__args__rewards=TWO,
                   alg__args__silent_by="form", **changes)  # fmt: skip
    config, problems = resolve(FinetuneConfig, keys)
    assert not problems and config is not None
