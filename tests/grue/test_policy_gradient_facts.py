"""Facts of policy gradients in groups: silence, what a scale divides, what a first step is."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from grue.rl.group_advantages import BASELINES, SCALES, deviates, group_advantages
from tests.grue.test_critic_free import IN_REWARD, Same, moved, rewarded, small, updated

FLOAT64 = {"dtype": torch.float64}
TOLERANCE = 1e-6


@pytest.mark.parametrize("size", [2, 4, 8])
@pytest.mark.parametrize("right", [0.01, 0.3, 0.5])
def test_how_often_groups_of_right_and_wrong_outputs_are_silent(size: int, right: float) -> None:
    """The sum over all outcomes of a group is p^K + (1 - p)^K."""
    outcomes = torch.tensor([*itertools.product([0.0, 1.0], repeat=size)], **FLOAT64)
    probabilities = (outcomes * right + (1 - outcomes) * (1 - right)).prod(1)
    found = probabilities[~deviates(outcomes, TOLERANCE)].sum()
    assert float(found) == pytest.approx(right**size + (1 - right) ** size, rel=1e-12)
    # And the mean square of centred rewards is p (1 - p) (K - 1) / K.
    squares = (probabilities[:, None] * BASELINES["group"](outcomes, TOLERANCE).square()).sum(0)
    expected = right * (1 - right) * (size - 1) / size
    torch.testing.assert_close(squares, torch.full((size,), expected, **FLOAT64))


@pytest.mark.parametrize("scale", [None, *SCALES])
@pytest.mark.parametrize("baseline", BASELINES)
def test_a_group_deviates_as_a_whole(baseline: str, scale: str | None) -> None:
    """Rewards count that lie within the tolerance of the others' mean, which is a third off."""
    above = 2.0 * TOLERANCE
    task = torch.tensor([[1.0, 1.0 + above, 1.0, 1.0], [1.0, 1.0 + 0.5 * TOLERANCE, 1.0, 1.0]],
                        **FLOAT64)  # fmt: skip
    found, _ = group_advantages(task, 0 * task, baseline=baseline, scale=scale, tolerance=TOLERANCE)
    assert (found[0] != 0).all() and float(found[0].sum()) == pytest.approx(0, abs=1e-9)
    assert (found[1] == 0).all()


@pytest.mark.parametrize("baseline", BASELINES)
def test_rounding_does_not_become_an_advantage_of_order_one(baseline: str) -> None:
    task = torch.tensor([[0.5, 0.5, 0.5000001, 0.5]])
    assert len(task.unique()) == 2
    for scale in (None, *SCALES):
        found, _ = group_advantages(
            task, 0 * task, baseline=baseline, scale=scale, tolerance=TOLERANCE
        )
        assert (found == 0).all()


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("baseline", BASELINES)
def test_penalties_are_centred_and_never_scaled(baseline: str, scale: str) -> None:
    """Whatever the task's rewards are, their part is that without a scale."""
    torch.manual_seed(0)
    task, penalties = torch.rand(2, 3, 4, **FLOAT64)
    task[0] = 0.25
    options: Any = {"baseline": baseline, "tolerance": TOLERANCE}
    _, plain = group_advantages(task, penalties, scale=None, **options)
    of_task, of_penalties = group_advantages(1e-3 * task, penalties, scale=scale, **options)
    torch.testing.assert_close(of_penalties, plain)
    unpenalised, _ = group_advantages(1e-3 * task, 0 * penalties, scale=scale, **options)
    torch.testing.assert_close(of_task, unpenalised)
    assert (of_task[0] == 0).all() and (of_penalties[0] != 0).all()


def test_a_penalty_in_the_reward_pushes_silent_groups_without_a_scale() -> None:
    """Of equal rewards, the step by penalties is the same with a std as without."""
    args: Any = {"kl": {"coeff": 0.1, **IN_REWARD}, "num_minibatches": 1}
    steps = {
        scale: updated(rewarded(Same, advantage_scale=scale, **args))[0][0]
        for scale in ("none", "group_std", "batch_std", "rollout_std")
    }
    norm = steps["none"].norm()
    assert norm > 1e-5
    for step in steps.values():
        assert (step - steps["none"]).norm() < 1e-5 * norm


@pytest.mark.parametrize("ratio", ["token", "sequence", "sequence_product"])
@pytest.mark.parametrize("loss", ["clipped", "cispo"])
def test_one_step_of_a_rollout_is_that_of_reinforce(loss: str, ratio: str) -> None:
    """Also with hardly any room to clip in: every ratio is 1, to the rounding of two passes."""
    args: Any = {"num_minibatches": 1, "n_epochs": 1, "clip_range": 1e-3, "ratio": ratio}
    (plain,), _ = updated(moved(small("grpo", policy_loss="reinforce", **args)))
    (found,), measured = updated(moved(small("grpo", policy_loss=loss, **args)))
    assert measured["ratio/mean"] == pytest.approx(1, abs=1e-5)
    assert measured["clip_share/low"] == measured["clip_share/high"] == 0
    torch.testing.assert_close(found, plain, rtol=1e-4, atol=1e-6)
    assert plain.norm() > 1e-3
