"""What is equal but for rounding is equal: no signal is made of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from grue.metrics.metric import NoArgs
from grue.rewards.reward import Reward, Rewards
from grue.rl.advantages import less_mean_output
from grue.rl.group_advantages import group_advantages, leave_one_out
from grue.rl.numeric_equality import are_equal, centred, minus, scale_of
from grue.rl.tolerance import TOLERANCE
from grue.rl.whitening import whitened
from grue.rollouts.minibatch import standardize
from grue.texts import Texts
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.test_reinforcement import SAMPLED, reinforcement, rows_of


class Constant(Reward[NoArgs]):
    """0.7 for each output, which no binary number is."""

    def __call__(self, texts: Texts) -> Rewards:
        return np.full(len(texts), 0.7)


def rounded(value: float, count: int = 8) -> Tensor:
    """[count] numbers that one rounding of float32 tells apart."""
    values = torch.full((count,), value)
    values[::3] = torch.nextafter(values[::3], torch.tensor(torch.inf))
    assert len(values.unique()) == 2
    return values


def group_standardized(values: Tensor) -> Tensor:
    """Advantages of REINFORCE with this baseline, without penalties."""
    none = torch.zeros_like(values)
    return group_advantages(
        values, none, baseline="group", scale="bare_group_std", tolerance=TOLERANCE
    )[0]


@pytest.mark.parametrize("value", [0.7, 10.0, -3.3e-9, 1e9])
def test_roundings_are_no_difference(value: float) -> None:
    values = rounded(value)
    assert are_equal(values).item()
    for found in (centred(values), leave_one_out(values[None]), group_standardized(values[None])):
        assert not found.any()
    assert scale_of(values) == 1
    found, scale = whitened(values.view(2, 4), torch.ones(2, 4, dtype=torch.bool))
    assert not found.any() and scale == 1
    assert not minus(values, torch.full_like(values, value)).any()


@pytest.mark.parametrize("size", [1e-9, 0.7, 1e6])
def test_advantages_that_a_fitted_critic_leaves_divide_nothing(size: float) -> None:
    """Returns less values of this size are their rounding; the std of that is no divisor."""
    values = rounded(size)
    returns = torch.full_like(values, size)
    noise = returns - values
    assert noise.any() and scale_of(noise) < 1e-5 * size
    (found, other), scale = standardize([noise, torch.arange(8.0)], values, returns)
    assert not found.any() and scale == 1 and other.any()
    (found,), scale = standardize([noise + values.cumsum(0)], values, returns)
    torch.testing.assert_close(found.std(), torch.ones(()))


def test_one_value_has_no_deviation() -> None:
    value = torch.tensor([0.3])
    assert centred(value) == 0 and scale_of(value) == 1


@pytest.mark.parametrize("value", [0.7, 10.0, -3.3e-9, 1e9])
def test_differences_beyond_rounding_count_whatever_their_size(value: float) -> None:
    values = value * (1 + 1e-4 * torch.arange(4.0))
    assert not are_equal(values).item()
    found = group_standardized(values[None])[0]
    torch.testing.assert_close(found.mean(), torch.zeros(()), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.std(), torch.ones(()), rtol=1e-3, atol=0)
    assert minus(values, values.roll(1)).all()


def test_the_mean_of_outputs_is_taken_off_at_their_last_tokens() -> None:
    task = torch.tensor([[0.0, 0.7, 0.0], [0.7, 0.0, 0.0], [0.0, 0.0, 0.7]])
    mask = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    assert not less_mean_output(task, mask).any()
    found = less_mean_output(task + torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 0]]), mask)
    expected = torch.tensor([[1.0, -1 / 3, 0], [-1 / 3, 0, 0], [0, 0, -1 / 3]])
    torch.testing.assert_close(found, expected)


KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo": ("ppo", {"alg__args__n_steps": 12}),
    "a2c": ("a2c", {"alg__args__n_steps": 12, "alg__args__rms_prop_eps": 1.0}),
    "ppo_human_preferences": ("ppo_human_preferences", {"alg__args__nminibatches": 1}),
    **{
        baseline: ("reinforce", {"alg__args__baseline": baseline})
        for baseline in ("leave_one_out", "group_standardized", "running_mean", "cumulative_mean")
    },
}


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def made(workplace: Workplace, model: Path, kind: str, **changes: Any) -> list[dict[str, Any]]:
    """The rows of four iterations in which all outputs are worth the same."""
    algorithm, own = KINDS[kind]
    run = reinforcement(
        model, algorithm, reward_fn__id=f"custom:{__name__}:Constant", train_evaluation__n_iters=4,
        train_evaluation__eval_every=100, **own, **changes,
    )  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    return [row for row in rows_of(folder) if "rollout_info/ep_rew" in row]


@pytest.mark.parametrize("kind", KINDS)
def test_where_rewards_are_equal_penalties_are_the_whole_update(
    workplace: Workplace, model: Path, kind: str
) -> None:
    rows = made(workplace, model, kind, alg__args__ent_coef=0.1, alg__kl_div={"coeff": 0.1})
    shares = [row["update_share/kl_and_entropy"] for row in rows]
    assert shares == pytest.approx([1.0] * 4, abs=1e-6)
    assert all(np.isfinite(list(row.values())).all() for row in rows)


@pytest.mark.parametrize("kind", ["leave_one_out", "group_standardized", "running_mean"])
def test_equal_rewards_without_penalties_move_nothing(
    workplace: Workplace, model: Path, kind: str
) -> None:
    rows = made(workplace, model, kind, alg__kl_div={"coeff": 0.0})
    assert [row["reinforce/grad_norm"] for row in rows] == [0.0] * 4


@pytest.mark.parametrize("kind", ["ppo", "a2c"])
def test_a_kl_loss_keeps_its_weight_where_rewards_do_not_deviate(
    workplace: Workplace, model: Path, kind: str
) -> None:
    """A critic of zero, and outputs none of which is cut, make all advantages equal.

    Large epsilons keep the optimisers from whole steps along what rounding leaves of the gradient.
    """
    rows = made(
        workplace, model, kind, alg__kl_div={"coeff": 0.1, "placement": "loss"},
        alg__policy__critic_head="zero", alg__args__gamma=1.0, alg__args__gae_lambda=1.0,
        alg__args__normalize_advantage=True, alg__args__vf_coef=0.0,
        alg__policy__args__optimizer_kwargs={"eps": 1.0},
        alg__policy__args__generation_kwargs={**SAMPLED, "ignore_eos": True},
        env__args={"max_prompt_length": 10, "max_episode_length": 6},
    )  # fmt: skip
    assert max(row[f"{kind}/grad_norm"] for row in rows) < 1e-3
    assert all(row[f"{kind}/kl_loss"] >= 0 for row in rows)


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1.0, 1e30])
def test_rewards_of_any_size_deviate_alike(size: float) -> None:
    rewards = torch.tensor([[0.1, 0.2, 0.4], [-1.0, 3.0, -1.0]])
    standardized = centred(rewards) / scale_of(rewards)
    found = centred(size * rewards) / scale_of(size * rewards)
    torch.testing.assert_close(found, standardized, rtol=1e-5, atol=1e-6)
