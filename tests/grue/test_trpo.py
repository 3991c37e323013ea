"""TRPO: the curvature of the mean KL, steps within the trust region, a critic on its own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from grue.algorithms import trpo as trpo_module
from grue.algorithms.any_alg import BUILT_IN
from grue.algorithms.fisher import Fisher, TokenLogits, softmax_fisher
from grue.algorithms.tensorflow_adam import TensorFlowAdam
from grue.algorithms.trpo import Trpo
from grue.metrics.metric import NoArgs
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.distribution import TokenDistribution
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.rl.kl import kl_full
from grue.rollouts.batch import Rollout
from grue.rollouts.collector import Rollouts
from grue.rollouts.minibatch import Minibatch
from grue.rollouts.settings import RolloutSettings
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from tests.grue.parts import Letters

TEMPERATURE = 0.8
LIMIT = 0.01


def trpo(policy: Policy, critic: str = "copy", **args: Any) -> Trpo:
    """With a policy of its own."""
    kind = "seq2seq" if policy.is_encoder_decoder else "causal"
    alg = BUILT_IN["trpo"].model_validate({
        "id": "trpo", "args": {"target_kl": LIMIT, "batch_size": 32, **args},
        "kl_div": {"coeff": 0.1},
        "policy": {"id": f"{kind}_lm_actor_critic_policy", "args": {"model_name": "m"}},
    })  # fmt: skip
    own = Policy(copy.deepcopy(policy.model), policy.tokenizer)
    actor_critic = ActorCritic(own, make_critic(own, critic, seed=0), temperature=TEMPERATURE,
                               ref_temperature=TEMPERATURE)  # fmt: skip
    return Trpo(actor_critic, alg)


def rollout_of(algorithm: Trpo) -> Rollout:
    settings = RolloutSettings(
        GenerationConfig(do_sample=True, top_k=0, temperature=TEMPERATURE, max_new_tokens=6),
        num_envs=12, num_tokens=50,
    )  # fmt: skip
    inputs = Inputs([Sample("0", "the cat", ()), Sample("1", "a dog runs in", ())], [0, 1])
    drawing = Rollouts(algorithm.actor_critic, inputs, Letters(NoArgs()), settings, seed=0)
    return drawing.collect(1, 0.1)[0]


def updated(algorithm: Trpo, rollout: Rollout) -> dict[str, float]:
    return algorithm.update(rollout, 0.1, torch.Generator().manual_seed(0))


def test_the_fisher_matrix_of_a_softmax_is_the_hessian_of_the_kl() -> None:
    logits, tangent = torch.randn(2, 7, dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda z: kl_full(z, logits), logits)
    assert isinstance(hessian, Tensor)
    torch.testing.assert_close(softmax_fisher(logits, tangent), hessian @ tangent)


def test_products_are_finite_differences_of_the_kls_gradient(policy: Policy) -> None:
    algorithm, damping, distance = trpo(policy), 0.1, 3e-5
    batches = list(rollout_of(algorithm).sequential_batches(5))
    assert len(batches) > 1
    fisher = Fisher(algorithm.logits, batches, damping)
    torch.manual_seed(0)
    vector = torch.randn(sum(weight.numel() for weight in algorithm.weights))
    found = fisher(vector)

    model = copy.deepcopy(algorithm.policy.model).double()
    weights = list(model.parameters())
    start = torch.nn.utils.parameters_to_vector(weights).detach()

    def logits(batch: Minibatch) -> Tensor:
        return batch.sequences.logits(model)[batch.loss_mask] / TEMPERATURE

    old = [logits(batch).detach() for batch in batches]

    def gradient_at(point: Tensor) -> Tensor:
        torch.nn.utils.vector_to_parameters(point, weights)
        kl = torch.cat([kl_full(logits(b), before) for b, before in zip(batches, old, strict=True)])
        parts = torch.autograd.grad(kl.mean(), weights, allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    step = distance * vector.double()
    expected = (gradient_at(start + step) - gradient_at(start - step)) / (2 * distance)
    expected += damping * vector.double()
    of_kl = expected - damping * vector
    # T5 is in float32 within its layer norms, whatever its weights are.
    assert (found - expected).norm() < 3e-4 * of_kl.norm()


@pytest.mark.parametrize("critic", ["copy", "shared"])
def test_a_step_raises_the_objective_within_the_trust_region(
    policy: Policy, critic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trpo_module, "TOKENS_IN_PASS", 20)  # several passes
    algorithm = trpo(policy, critic)
    rollout = rollout_of(algorithm)
    old = TokenLogits(copy.deepcopy(algorithm.policy.model), TEMPERATURE)
    (batch,) = rollout.sequential_batches(len(rollout))
    found = updated(algorithm, rollout)
    with torch.no_grad():
        new_logits, old_logits = algorithm.logits(batch), old(batch)
        kl = float(kl_full(new_logits, old_logits).mean())
        ratio = (new_logits.log_softmax(-1) - old_logits.log_softmax(-1)).exp()
        ratio = ratio.gather(-1, batch.tokens[:, None]).squeeze(-1)
        objective = float((batch.standardized()[0].advantages * ratio).mean())
        entropy = float(TokenDistribution(old_logits).entropy().mean())
    assert found["trpo/is_line_search_success"] == 1
    assert 0.3 * LIMIT < kl < LIMIT
    assert objective > 0.01
    assert found["trpo/kl_divergence"] == pytest.approx(kl, rel=1e-3)
    assert found["trpo/policy_objective"] == pytest.approx(objective, rel=1e-3, abs=1e-6)
    assert 0 <= found["update_share/kl_and_entropy"] < 1
    assert found["trpo/entropy_loss"] == pytest.approx(-entropy, rel=1e-4)


def test_the_critic_has_the_optimizer_that_is_asked_for(causal_policy: Policy) -> None:
    algorithm = trpo(causal_policy)
    keys = algorithm.alg.model_dump()
    keys["policy"]["args"]["optimizer"] = "adam_tensorflow"
    algorithm.alg = BUILT_IN["trpo"].model_validate(keys)
    assert isinstance(algorithm.make_optimizer(), TensorFlowAdam)


def test_a_step_that_cannot_be_accepted_is_not_made(
    causal_policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm = trpo(causal_policy)
    before = copy.deepcopy(algorithm.policy.model.state_dict())
    monkeypatch.setattr(algorithm, "_compare", lambda *_: (1.0, 2 * LIMIT))
    found = updated(algorithm, rollout_of(algorithm))
    assert found["trpo/is_line_search_success"] == 0
    after = algorithm.policy.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_equal_advantages_move_the_critic_alone(causal_policy: Policy) -> None:
    algorithm = trpo(causal_policy)
    rollout = rollout_of(algorithm)
    before = copy.deepcopy(algorithm.actor_critic.state_dict())
    nothing = torch.zeros_like(rollout.advantages)
    found = updated(algorithm, rollout.with_advantages(nothing, nothing))
    assert found["trpo/is_line_search_success"] == 0
    moved = {name for name, weight in algorithm.actor_critic.state_dict().items()
             if not torch.equal(weight, before[name])}  # fmt: skip
    assert moved and all(name.startswith("critic.") for name in moved)


def test_a_part_of_the_outputs_can_make_the_fisher_matrix(causal_policy: Policy) -> None:
    algorithm = trpo(causal_policy, sub_sampling_factor=3)
    rollout = rollout_of(algorithm)
    rows = rollout.subsample(3).train_mask.any(-1).nonzero().squeeze(-1).tolist()
    assert rows == [row for row in range(0, len(rollout), 3) if rollout.train_mask[row].any()]
    assert updated(algorithm, rollout)["trpo/kl_divergence"] < LIMIT
