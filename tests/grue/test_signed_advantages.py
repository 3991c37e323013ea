"""Advantages of right and wrong outputs: by hand, and in an update."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from common.config.resolve import resolve
from grue.experiments.finetune.config import FinetuneConfig
from grue.rl.group_advantages import Groups, deviates, group_advantages, virtual_best
from grue.rl.signed_advantages import (
    entropy_shaped,
    right_or_wrong,
    silent_signs,
    weighted_by_sign,
)
from tests.grue.exact import Subject
from tests.grue.parts import EVEN
from tests.grue.test_critic_free import Same, keys_of, rewarded, updated

GROUPS = torch.tensor(
    [[0.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1], [0.3, 0.3, 0.3, 0.3]], dtype=torch.float64
)
FREE = {"kl": {"coeff": 0.0}, "num_minibatches": 1}


def of_group(rewards: Tensor, baseline: str, scale: str | None) -> Tensor:
    zeros = torch.zeros_like(rewards)
    return group_advantages(rewards, zeros, baseline=baseline, scale=scale, tolerance=1e-6)[0]


SILENT = [0.0] * 4


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        # The mean is 1/4; the unbiased std sqrt((3/16 + 9/16) / 3) = 1/2.
        (of_group(GROUPS, "group", None), [SILENT, SILENT, [-0.25, -0.25, -0.25, 0.75], SILENT]),
        (of_group(GROUPS, "group", "group_std"),
         [SILENT, SILENT, [-0.25 / 0.5001] * 3 + [0.75 / 0.5001], SILENT]),
        # Others of a wrong one: one right of three.
        (of_group(GROUPS, "leave_one_out", None),
         [SILENT, SILENT, [-1 / 3, -1 / 3, -1 / 3, 1.0], SILENT]),
        # Std of all 16 centred ones: sqrt((3/16 + 9/16) / 15) = sqrt(1/20).
        (of_group(GROUPS, "group", "batch_std"),
         [SILENT, SILENT, [-0.25 * 20**0.5] * 3 + [0.75 * 20**0.5], SILENT]),
        (of_group(GROUPS, "group", "group_mean"), [SILENT, SILENT, [-1.0, -1, -1, 3], SILENT]),
        # With an imagined 1 the means are 1/5, 1, 2/5 and 0.44, and the unbiased stds sqrt(1/5), 0,
        # sqrt(3/10) and sqrt(0.098).
        (virtual_best(GROUPS, 1.0, 1e-6),
         [[-0.2 / (0.2**0.5 + 1e-6)] * 4, SILENT,
          [-0.4 / (0.3**0.5 + 1e-6)] * 3 + [0.6 / (0.3**0.5 + 1e-6)],
          [-0.14 / (0.098**0.5 + 1e-6)] * 4]),
        (right_or_wrong(GROUPS, 1.0), [[-1.0] * 4, [1.0] * 4, [-1.0, -1, -1, 1], [-1.0] * 4]),
        (weighted_by_sign(right_or_wrong(GROUPS, 1.0), 0.1, 1.0),
         [[-1.0] * 4, [0.1] * 4, [-1.0, -1, -1, 0.1], [-1.0] * 4]),
        (weighted_by_sign(of_group(GROUPS, "group", None), 0.0, 2.0),
         [SILENT, SILENT, [-0.5, -0.5, -0.5, 0.0], SILENT]),
    ],
)  # fmt: skip
def test_advantages_worked_out_by_hand(found: Tensor, expected: list[list[float]]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64),
                               rtol=1e-12, atol=1e-12)  # fmt: skip


def test_entropies_shape_silent_groups() -> None:
    signs = silent_signs(Groups(deviates(GROUPS, 1e-6), GROUPS.var(1), GROUPS[:, 0]), 1.0)
    assert signs.tolist() == [-1, 1, 0, -1]
    entropies = torch.tensor([[0.5, 2.0, 1.0, 9.0]] * 4, dtype=torch.float64, requires_grad=True)
    mask = torch.tensor([[True, True, True, False]] * 4)
    found = entropy_shaped(entropies, mask, signs)
    assert not found.requires_grad
    assert found.tolist() == [[-1.5, 0, -1, 0], [0.5, 2, 1, 0], [0, 0, 0, 0], [-1.5, 0, -1, 0]]


def test_one_that_is_certain_of_a_right_answer_is_not_pushed() -> None:
    """Without entropy there is nothing to shape by."""
    found = entropy_shaped(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool),
                           torch.tensor([1.0, -1.0]))  # fmt: skip
    assert (found == 0).all()


def by_hand(subject: Subject, alpha: float, sign: float) -> Tensor:
    """[P] the gradient of the mean over outputs of sums of -A log pi, A by entropies."""
    rollout, _ = subject.rollouts.collect(0, 0.0)
    (batch,) = rollout.sequential_batches(len(rollout))
    now = subject.algorithm.evaluate(batch)
    total = torch.zeros(())
    for row in range(len(rollout)):
        where = batch.places // batch.loss_mask.shape[1] == row
        entropies = now.entropy()[where].detach()
        shaped = entropies if sign > 0 else entropies - entropies.max()
        total = total - (alpha * shaped * now.log_probs[where]).sum()
    weights = list(subject.policy.model.parameters())
    parts = torch.autograd.grad(total / len(rollout), weights, allow_unused=True,
                                materialize_grads=True)  # fmt: skip
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize(("best", "sign"), [(0.3, 1.0), (1.0, -1.0)])
def test_silent_groups_are_pushed_by_entropy(best: float, sign: float) -> None:
    args = {"zero_std_groups": "entropy_shaped", "entropy_alpha": 0.5, "best_reward": best,
            "aggregate": "sequence_sum", **FREE}  # fmt: skip
    subject = rewarded(Same, **args)
    expected = by_hand(subject, 0.5, sign)
    (gradient,), found = updated(subject)
    assert found["groups/constant"] == 1 and expected.norm() > 1e-4
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-7)
    (parts,), _ = updated(rewarded(Same, **args, micro_batch_size=3))
    torch.testing.assert_close(parts, gradient, rtol=1e-4, atol=1e-7)


def test_wrong_outputs_alone_may_push() -> None:
    """All are wrong: what positive_weight is changes nothing, and negative_weight scales."""
    args = {"advantage": "right_or_wrong", **FREE}
    (one,), _ = updated(rewarded(Same, "dr_grpo", **args))
    (other,), _ = updated(rewarded(Same, "dr_grpo", positive_weight=0.0, **args))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    (half,), _ = updated(rewarded(Same, "dr_grpo", negative_weight=0.5, **args))
    torch.testing.assert_close(2 * half, one, rtol=1e-4, atol=1e-8)
    (none,), _ = updated(rewarded(Same, "dr_grpo", best_reward=0.3, positive_weight=0.0, **args))
    assert one.norm() > 1e-3 and (none == 0).all()


SHAPED = {"alg__args__zero_std_groups": "entropy_shaped"}
OF_SUM = {
    "reward_fn__id": "weighted_sum",
    "reward_fn__args": {"rewards": [{"id": "exact_answer"}, {"id": "answer_given", "weight": 0.1}]},
}
JUDGED = {"alg__args__advantage": "right_or_wrong", "alg__args__advantage_scale": "none"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({**SHAPED, "reward_fn__id": "length"}, "needs a reward of right and wrong outputs"),
        ({**JUDGED, "reward_fn__id": "length"}, "needs a reward of right and wrong outputs"),
        ({**SHAPED, "alg__args__best_reward": 2.0, "reward_fn__id": "exact_answer"},
         "the largest reward of 'exact_answer' is 1"),
        ({"alg__args__solved_above": 0.9, **OF_SUM}, "the largest reward of 'weighted_sum' is 1.1"),
        ({"alg__args__zero_std_groups": "hint", **OF_SUM}, "as 'alg.args.silent_by'"),
        ({"alg__args__zero_std_groups": "virtual_best", "alg__args__best_reward": 0.5,
          "reward_fn__id": "exact_answer"}, "the largest reward of 'exact_answer' is 1"),
        ({"alg__args__solved_above": 0.9, "alg__args__best_reward": 1.1, **OF_SUM,
          "alg__args__silent_by": "exact_answer"}, "the largest reward of 'exact_answer' is 1"),
        ({**SHAPED, "alg__args__advantage_scale": "unit", "reward_fn__id": EVEN}, "than 'unit'"),
        ({"alg__args__advantage": "right_or_wrong", "reward_fn__id": EVEN},
         "is of rewards minus a group's mean"),
        ({**JUDGED, "alg__args__silent_by": "exact_answer", **OF_SUM}, "judges the whole reward"),
        ({"alg__args__positive_weight": 0.1, "alg__args__advantage_scale": "unit"},
         "would centre what it weighs"),
        ({"alg__args__positive_weight": 0.0, "alg__args__negative_weight": 0.0},
         "leaves nothing to learn"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    _, problems = resolve(FinetuneConfig, keys_of("grpo", **changes))
    (problem,) = map(str, problems)
    assert message in problem


@pytest.mark.parametrize(
    "changes",
    [
        {"alg__args__best_reward": 1.1, **OF_SUM},
        {"alg__args__silent_by": "exact_answer", **OF_SUM},
        {"reward_fn__id": "exact_answer"},
        {"alg__args__best_reward": 7.0, "reward_fn__id": "length"},
    ],
)
def test_the_best_reward_may_be_that_of_what_decides(changes: dict[str, Any]) -> None:
    keys = keys_of("grpo", alg__args__solved_above=0.9, **changes)
    assert not resolve(FinetuneConfig, keys)[1]


def test_right_and_wrong_need_no_group() -> None:
    keys = keys_of("grpo", **JUDGED, alg__args__num_samples_per_input=1, reward_fn__id=EVEN)
    assert not resolve(FinetuneConfig, keys)[1]
