"""Sampled and exact KL penalties in PPO: one expected gradient, of less or more noise."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from grue.algorithm_config import PpoAlg
from grue.algorithms.ppo import Ppo
from grue.generation_config import GenerationConfig
from grue.inputs import Inputs
from grue.losses import policy_gradient_loss
from grue.metrics.metric import NoArgs
from grue.policies.actor_critic import ActorCritic
from grue.policies.policy import Policy
from grue.rollouts import Rollouts, RolloutSettings
from grue.tasks.task import Sample
from tests.grue.parts import Letters

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


def algorithm(actor_critic: ActorCritic, grad: bool, reward: bool) -> Ppo:
    keys = {
        "id": "ppo_kl",
        "args": {"analytic_kl_grad": grad},
        "kl_div": {"coeff": BETA, "analytic_kl_reward": reward},
        "policy": {"id": "causal_lm_actor_critic_policy", "args": {"model_name": "m"}},
    }
    return Ppo(actor_critic, PpoAlg.model_validate(keys))


def rollouts(actor_critic: ActorCritic, grad: bool, reward: bool, seed: int = 0) -> Rollouts:
    settings = RolloutSettings(
        GenerationConfig(do_sample=True, top_k=0, max_new_tokens=4),
        num_envs=32, num_tokens=1, whole_outputs=True, gamma=1.0, gae_lambda=1.0,
        analytic_kl=reward, own_kl_in_advantages=not grad,
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
        (batch,) = rollout.in_order(len(rollout), actor_critic.policy)
        logits, log_probs, _ = ppo.evaluate(batch)
        loss = policy_gradient_loss(log_probs, batch.advantages) + ppo.kl_loss(batch, logits, BETA)
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
    torch.testing.assert_close(plain.advantages[plain.mask], remaining[plain.mask])


def test_value_targets_hold_a_tokens_own_penalty_in_every_mode(actor_critic: ActorCritic) -> None:
    for grad, reward in MODES.values():
        rollout, _ = rollouts(actor_critic, grad, reward).collect(0, BETA)
        remaining = rollout.rewards.flip(1).cumsum(1).flip(1)
        torch.testing.assert_close(rollout.returns[rollout.mask], remaining[rollout.mask])
        own = BETA * rollout.kl if grad else BETA * (rollout.kl - rollout.log_probs
                                                     + rollout.ref_log_probs)  # fmt: skip
        torch.testing.assert_close(
            (rollout.advantages - rollout.returns)[rollout.mask], own[rollout.mask]
        )
        assert np.isfinite(rollout.penalty_advantages[rollout.mask].numpy()).all()
