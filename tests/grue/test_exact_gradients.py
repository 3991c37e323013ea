"""Sampled policy gradients of the real rollouts and algorithms against the exact expectation."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from grue.policies.policy import Policy
from grue.rollouts import collector as rollouts
from tests.grue.conftest import causal_model, encoder_decoder
from tests.grue.exact import Subject, chain, grid, set_chain, small_tokenizer

# rows: the last token, of end-of-sequence, "a", "b"; columns: the next one
REFERENCE = [[0.25, 0.5, 0.25], [0.25, 0.25, 0.5], [0.5, 0.25, 0.25]]
MOVED = [[0.25, 0.25, 0.5], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]

EXACT_KL = {"analytic_kl_reward": True}
ESTIMATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "reinforce": ("reinforce", {"baseline": "none", "num_samples_per_input": 1}),
    "running mean": ("reinforce", {"baseline": "running_mean", "num_samples_per_input": 1}),
    "rloo": ("reinforce", {"baseline": "leave_one_out", "num_samples_per_input": 2}),
    "a2c": ("a2c", {}),
    "ppo": ("ppo", {}),
    "ppo, exact kl in rewards": ("ppo", {"kl": EXACT_KL}),
    "ppo, exact kl in the loss": ("ppo", {"analytic_kl_grad": True}),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_rollout_of_all_outputs_gives_the_exact_gradient(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each output (for RLOO each pair of outputs) comes as often as its probability says.

    So the update's gradient is no estimate: it is the sum over all outputs itself. A factor such
    as (K - 1) / K, which a baseline with the output's own reward makes, would show as well.
    """
    algorithm, args = ESTIMATORS[name]
    draws = grid(args.get("num_samples_per_input", 1))
    policy = Policy(chain(REFERENCE), small_tokenizer("a", "b"))
    subject = Subject(policy, algorithm, prompts=["b"], num_envs=len(draws), **args)
    set_chain(policy.model, MOVED)
    monkeypatch.setattr(rollouts, "uniforms", lambda *_, **__: draws)
    expected = subject.expected()
    assert expected.norm() > 0.1
    torch.testing.assert_close(subject.step(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("algorithm", "estimator", "is_exact"),
    [("rloo", "k1", True), ("rloo", "k2", False), ("rloo", "k3", False), ("rloo", "full", False),
     ("reinforce", "full", False), ("a2c", "k2", False), ("a2c", "k3", False),
     ("a2c", "full", True)],
)  # fmt: skip
def test_penalties_in_the_reward_have_the_gradient_that_notices_tell(
    algorithm: str, estimator: str, is_exact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the KL, or another one: of the estimates as constants, as rewards are.

    With advantages per token the exact KL is k1 in a token's own advantage. Those of whole outputs
    have the sum of the exact KL.
    """
    args = {} if algorithm == "a2c" else {"num_samples_per_input": 2}
    draws = grid(args.get("num_samples_per_input", 1))
    policy = Policy(chain(REFERENCE), small_tokenizer("a", "b"))
    subject = Subject(policy, algorithm, prompts=["b"], num_envs=len(draws),
                      kl={"coeff": 3.0, "estimator": estimator}, **args)  # fmt: skip
    set_chain(policy.model, MOVED)
    monkeypatch.setattr(rollouts, "uniforms", lambda *_, **__: draws)
    found, exact = subject.step(), subject.expected()
    if is_exact:
        torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5)
        return
    assert (found - exact).norm() > 0.1 * exact.norm()
    of_constants = subject.expected_of_constants(estimator)
    torch.testing.assert_close(found, of_constants, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "name"), [("gpt2", "rloo"), ("t5", "ppo")])
def test_gradients_of_many_rollouts_have_the_exact_one_as_their_mean(kind: str, name: str) -> None:
    """Along the exact gradient and 20 random directions, by 4 standard errors.

    Rollouts are independent, and each is a mean over hundreds of outputs, so that all are normal to
    a good approximation: of 21 directions one goes beyond in about 1 % of all seeds. The exact
    gradient itself stands 10 standard errors or more from zero: a wrong sign, or half as much
    again, would be seen.
    """
    algorithm, args = ESTIMATORS[name]
    tokenizer = small_tokenizer("a", "b", "c")
    model = causal_model(4) if kind == "gpt2" else encoder_decoder("t5", 4)
    subject = Subject(Policy(model, tokenizer), algorithm, prompts=["b", "a c"], num_envs=200,
                      temperature=1.4, **args)  # fmt: skip
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    expected = subject.expected()
    found = torch.stack([subject.step(iteration) for iteration in range(24)])
    directions = torch.cat([expected[None], torch.randn(20, len(expected))])
    errors = (found - expected) @ directions.T
    standard_errors = errors.std(0) / len(errors) ** 0.5
    assert expected.square().sum() > 10 * standard_errors[0]
    assert (errors.mean(0).abs() < 4 * standard_errors).all()
