"""Sampled and exact KL penalties in PPO: one expected gradient, of less or more noise."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from common.run.folder import read_json_lines
from grue.algorithms.any_alg import BUILT_IN
from grue.algorithms.ppo import Ppo
from grue.metrics.metric import NoArgs
from grue.policies.actor_critic import ActorCritic
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.rl.advantages import generalized_advantages, value_after
from grue.rl.kl import kl_full
from grue.rl.losses import policy_gradient_loss
from grue.rl.tolerance import LOG_PROB_ROUNDING
from grue.rollouts.collector import Rollouts
from grue.rollouts.settings import RolloutSettings
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from tests.conftest import Workplace, without_seconds
from tests.grue.conftest import save_model, write
from tests.grue.parts import Letters
from tests.grue.test_nlpo import SETTINGS, TOP_P, nlpo
from tests.grue.test_nlpo import rollouts as masked_rollouts
from tests.grue.test_reinforcement import MASKED, reinforcement, rows_of

BETA = 0.5
MODES = {"FF": (False, False), "FT": (False, True), "TF": (True, False), "TT": (True, True)}


@pytest.fixture(scope="module")
def actor_critic(causal_policy: Policy) -> Iterator[ActorCritic]:
    """A policy that has left its reference."""
    model = copy.deepcopy(causal_policy.model)
    moved = ActorCritic(Policy(model, causal_policy.tokenizer), None)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return moved


def algorithm(actor_critic: ActorCritic, grad: bool, reward: bool, **args: Any) -> Ppo:
    keys = {
        "id": "ppo_kl",
        "args": {"analytic_kl_grad": grad, **args},
        "kl_div": {"coeff": BETA, "analytic_kl_reward": reward},
        "policy": {"id": "causal_lm_actor_critic_policy", "args": {"model_name": "m"}},
    }
    return Ppo(actor_critic, BUILT_IN[keys["id"]].model_validate(keys))


def rollouts(actor_critic: ActorCritic, grad: bool, reward: bool, seed: int = 0) -> Rollouts:
    settings = RolloutSettings(
        GenerationConfig(do_sample=True, top_k=0, max_new_tokens=4),
        num_envs=32, num_tokens=1, whole_outputs=True, gamma=1.0, gae_lambda=1.0,
        kl_estimator="full" if reward else "k1", pg_kl_in_advantages=not grad,
    )  # fmt: skip
    inputs = Inputs([Sample("0", "the cat", ()), Sample("1", "a dog", ())], [0, 1])
    return Rollouts(actor_critic, inputs, Letters(NoArgs()), settings, seed=seed)


def gradients(actor_critic: ActorCritic, mode: str, number: int) -> Tensor:
    """[number, P] gradients of the mean over outputs, one per rollout."""
    grad, reward = MODES[mode]
    ppo, drawing = algorithm(actor_critic, grad, reward), rollouts(actor_critic, grad, reward)
    found = []
    for iteration in range(number):
        rollout, _ = drawing.collect(iteration, BETA)
        (batch,) = rollout.sequential_batches(len(rollout))
        now = ppo.evaluate(batch)
        loss = policy_gradient_loss(now.log_probs, batch.advantages) + ppo.kl_loss(now, BETA)
        of_outputs = loss * len(batch) / len(rollout)
        parts = torch.autograd.grad(of_outputs, actor_critic.parameters(), allow_unused=True)
        found.append(torch.cat([part.flatten() for part in parts if part is not None]))
    return torch.stack(found)


def test_all_modes_have_one_expected_gradient_and_exact_ones_less_noise(
    actor_critic: ActorCritic,
) -> None:
    found = {mode: gradients(actor_critic, mode, 60) for mode in MODES}
    noise = {mode: grads.var(0).sum() / len(grads) for mode, grads in found.items()}
    for mode in ("FT", "TF", "TT"):
        # the same outputs in every mode: the difference of the gradients is noise about zero
        differences = found[mode] - found["FF"]
        expected = differences.var(0).sum() / len(differences)
        assert differences.mean(0).square().sum() < 2 * expected
    assert noise["TT"] < noise["TF"] < noise["FF"]
    assert noise["FT"] < noise["FF"]


def test_without_a_switch_advantages_are_those_of_plain_rewards(actor_critic: ActorCritic) -> None:
    plain, _ = rollouts(actor_critic, grad=False, reward=False).collect(0, BETA)
    remaining = plain.rewards.flip(1).cumsum(1).flip(1)  # of the whole output: gamma and lambda 1
    torch.testing.assert_close(
        plain.advantages[plain.response_mask], remaining[plain.response_mask]
    )


def test_value_targets_hold_a_tokens_own_penalty_in_every_mode(actor_critic: ActorCritic) -> None:
    for grad, reward in MODES.values():
        rollout, _ = rollouts(actor_critic, grad, reward).collect(0, BETA)
        remaining = rollout.rewards.flip(1).cumsum(1).flip(1)
        torch.testing.assert_close(
            rollout.returns[rollout.response_mask], remaining[rollout.response_mask]
        )
        own = BETA * rollout.kl if grad else BETA * (rollout.kl - rollout.log_probs
                                                     + rollout.ref_log_probs)  # fmt: skip
        torch.testing.assert_close(
            (rollout.advantages - rollout.returns)[rollout.response_mask],
            own[rollout.response_mask],
        )
        assert np.isfinite(rollout.kl_advantages[rollout.response_mask].numpy()).all()


def test_reward_and_penalty_keep_their_weights_where_advantages_are_standardised(
    actor_critic: ActorCritic,
) -> None:
    args = {"n_epochs": 2, "batch_size": 64, "vf_coef": 0.0, "max_grad_norm": 1e9}
    rollout, _ = rollouts(actor_critic, grad=True, reward=True).collect(0, BETA)
    moved = []
    for unit in (1.0, 8.0):  # in another unit of the reward, the update is the same
        own = copy.deepcopy(actor_critic)
        scaled = rollout.with_advantages(unit * rollout.advantages, unit * rollout.kl_advantages)
        ppo = algorithm(own, True, True, **args)
        ppo.update(scaled, unit * BETA, torch.Generator().manual_seed(0))
        parts = zip(own.parameters(), actor_critic.parameters(), strict=True)
        moved.append(torch.cat([(ours - theirs).flatten() for ours, theirs in parts]).detach())
    assert moved[0].norm() > 0.01
    assert (moved[1] - moved[0]).norm() < 0.01 * moved[0].norm()


def test_with_a_mask_the_penalty_is_that_of_the_policy_without_it(causal_policy: Policy) -> None:
    algorithm = nlpo(causal_policy, TOP_P, analytic_kl_grad=True)
    settings = replace(SETTINGS, kl_estimator="full", pg_kl_in_advantages=False)
    rollout, _ = masked_rollouts(algorithm, settings).collect(0, BETA)
    (batch,) = rollout.sequential_batches(len(rollout))
    now = algorithm.evaluate(batch)
    logits = batch.counted(algorithm.actor_critic.evaluate(batch.sequences).logits)
    assert (now.log_probs > logits.log_softmax(-1).gather(-1, batch.tokens[:, None])[:, 0]).all()
    exact = kl_full(
        logits, algorithm.actor_critic.reference_logits(batch.sequences)[batch.loss_mask]
    )
    torch.testing.assert_close(rollout.kl[rollout.train_mask], exact.detach())
    own = rollout.advantages - (rollout.returns - rollout.values)
    torch.testing.assert_close(own[rollout.train_mask], BETA * exact.detach())
    torch.testing.assert_close(algorithm.kl_loss(now, BETA), BETA * exact.mean())


SWITCHES = ("alg__args__analytic_kl_grad", "alg__kl_div__analytic_kl_reward")


def test_a_run_with_both_switches_off_is_one_of_plain_ppo(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_model(workplace.path / "model", tokenizer)
    keys = {"train_evaluation__n_iters": 4, "alg__kl_div": {"coeff": 0.5, "target_kl": 0.1},
            "alg__args__n_steps": 16, "alg__args__batch_size": 32}  # fmt: skip
    keys["alg__args__n_epochs"] = 2
    off = reinforcement(model, "ppo_kl", **keys, **dict.fromkeys(SWITCHES, False))
    assert workplace.run_plan(write(workplace, off, name="off")).status == 0

    def collect(self: Rollouts, iteration: int, coefficient: float, progress: float) -> Any:
        rollout, found = published(self, iteration, coefficient, progress)
        log_ratio = (rollout.log_probs - rollout.ref_log_probs) * rollout.response_mask
        log_ratio *= log_ratio.abs() > LOG_PROB_ROUNDING
        rewards = rollout.task_rewards - coefficient * log_ratio
        advantages = generalized_advantages(
            rewards, rollout.values, rollout.train_mask,
            value_after(rollout.values, rollout.response_mask, rollout.train_mask),
            gamma=0.99, gae_lambda=0.95,
        )  # fmt: skip
        return replace(rollout, advantages=advantages, returns=advantages + rollout.values), found

    published = Rollouts.collect
    monkeypatch.setattr(Rollouts, "collect", collect)
    monkeypatch.setattr(Ppo, "kl_terms", lambda self, *_: (torch.zeros(()), {}))
    assert (
        workplace.run_plan(write(workplace, reinforcement(model, **keys), name="plain")).status == 0
    )
    (ours,), (plain,) = workplace.folders("off"), workplace.folders("plain")
    assert without_seconds(ours) == [
        pytest.approx(row, rel=1e-5, abs=1e-6) for row in without_seconds(plain)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ppo_kl", "nlpo"])
def test_runs_with_both_switches_learn(
    workplace: Workplace, tokenizer: PreTrainedTokenizerFast, algorithm: str
) -> None:
    model = save_model(workplace.path / "model", tokenizer)
    own = MASKED if algorithm == "nlpo" else {}
    sizes = {"alg__args__n_steps": 16, "alg__args__batch_size": 32, "alg__args__n_epochs": 3}
    run = reinforcement(model, algorithm, **sizes, **own, **dict.fromkeys(SWITCHES, True),
                        alg__kl_div__coeff=0.001, alg__args__measure_gradient_noise=True,
                        alg__args__normalize_advantage=algorithm == "nlpo")  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    rows = [row for row in rows_of(workplace.folders()[0]) if "rollout_info/ep_rew" in row]
    rewards = [row["rollout_info/ep_rew"] for row in rows]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1
    prefix = "nlpo" if algorithm == "nlpo" else "ppo"
    assert all(row[f"{prefix}/grad_variance"] > 0 for row in rows)
    training = read_json_lines(workplace.folders()[0].path / "training_info.jsonl")
    kls = [line["ppo/kl_loss"] for line in training]  # in nats, whatever the coefficient
    assert len(kls) == len(rows)
    assert min(kls) >= 0 and kls[-1] > 0.01
    assert all(row["rollout_info/kl_div_mean"] >= 0 for row in rows)
