"""Squared norms of expected gradients, against sums over all outputs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from grue.policies.policy import Policy
from grue.policies.score_products import Scores, score_products
from grue.rl.expected_gradient import FEWEST_OUTPUTS, squared_norm
from tests.grue.conftest import causal_model, encoder_decoder
from tests.grue.exact import outputs, small_tokenizer, worth

TEMPERATURE = 1.4


def small(kind: str) -> Policy:
    model = causal_model(3) if kind == "gpt2" else encoder_decoder(kind, 3)
    return Policy(model, small_tokenizer("a", "b"))


@pytest.fixture(scope="module", params=["gpt2", "t5"])
def known(request):
    """Probabilities, rewards and products of all outputs of a policy, and the exact |g|^2."""
    policy = small(request.param)
    (prompt,), every = policy.encode(["b a"], 4), outputs(policy)
    weights = list(policy.model.parameters())
    log_probs = policy.log_probs([prompt] * len(every), every, TEMPERATURE).sum(1)
    rewards = torch.tensor([worth(text) for text in policy.decode(every)])
    value = (log_probs.exp() * rewards).sum()
    gradient = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
    exact = sum(float(part.square().sum()) for part in gradient)
    products = score_products(policy, prompt, every, TEMPERATURE, num_held=4)
    whole = score_products(policy, prompt, every, TEMPERATURE)
    torch.testing.assert_close(products, whole, rtol=1e-5, atol=1e-5)  # whatever is held together
    probs = log_probs.exp().detach().double().numpy()
    assert probs.sum() == pytest.approx(1)
    return probs, rewards.double().numpy(), products.numpy(), exact


def test_products_give_the_exact_gradient(known):
    probs, rewards, products, exact = known
    weights = probs * rewards
    assert weights @ products @ weights == pytest.approx(exact, rel=1e-4)
    assert probs @ products @ probs == pytest.approx(0, abs=1e-6 * (probs @ products.diagonal()))


def test_the_estimate_is_unbiased_and_the_plain_norm_is_not(known):
    """The plain one is the square of the mean over outputs, with the mean reward as baseline."""
    probs, rewards, products, exact = known
    rng = np.random.default_rng(0)
    size, count = 6, 6000
    draws = rng.choice(len(probs), (count, size), p=probs / probs.sum())
    found = [squared_norm(rewards[rows], products[np.ix_(rows, rows)]) for rows in draws]
    values = np.array([one.value for one in found])
    error = values.std() / count**0.5
    assert error < 0.1 * exact
    assert abs(values.mean() - exact) < 4 * error
    centred = rewards[draws] - rewards[draws].mean(1, keepdims=True)
    of_groups = products[draws[:, :, None], draws[:, None, :]]
    plain = np.einsum("ni,nij,nj->n", centred, of_groups, centred) / (size - 1) ** 2
    assert plain.mean() > exact + 8 * error
    # The standard error is that of the estimates, and on average not too small.
    assumed = np.sqrt(np.mean([one.standard_error**2 for one in found]))
    assert values.std() < assumed < 2 * values.std()


def test_the_estimate_is_exactly_unbiased():
    """The sum over all groups of four outputs, each with its probability."""
    rng = np.random.default_rng(1)
    probs, rewards = np.array([0.2, 0.5, 0.3]), np.array([0.0, 1.0, 3.0])
    scores = rng.normal(size=(3, 5))
    scores -= probs @ scores
    products, gradient = scores @ scores.T, (probs * rewards) @ scores
    total = 0.0
    for rows in itertools.product(range(3), repeat=FEWEST_OUTPUTS):
        chosen = np.array(rows)
        one = squared_norm(rewards[chosen], products[np.ix_(chosen, chosen)])
        total += probs[chosen].prod() * one.value
    assert total == pytest.approx(gradient @ gradient, rel=1e-12)


def test_equal_rewards_give_exactly_zero_and_a_constant_changes_nothing():
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(5, 4))
    products = scores @ scores.T
    assert squared_norm(np.full(5, 0.1), products) == (0.0, 0.0)
    rewards = rng.normal(size=5)
    shifted = squared_norm(rewards + 7, products)
    assert shifted == pytest.approx(squared_norm(rewards, products))


def test_few_outputs_and_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="3 outputs: at least 4"):
        squared_norm(np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match="'products' has shape"):
        squared_norm(np.zeros(4), np.eye(3))


def test_products_are_not_rounded_within_autocast(causal_policy):
    (prompt,) = causal_policy.encode(["the cat"], 4)
    with torch.autocast("cpu", torch.bfloat16):
        found = score_products(causal_policy, prompt, [[5, 6], [7]], 1.0)
    assert (found != found.bfloat16().double()).all()


def test_wide_scores_fill_the_memory_with_half_as_many(causal_policy, monkeypatch):
    class Memory:
        available = 80 * sum(weight.numel() for weight in causal_policy.model.parameters())

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    assert Scores(causal_policy, [5], 1.0).num_fitting() == 10
    causal_policy.model.double()
    assert Scores(causal_policy, [5], 1.0).num_fitting() == 5


def test_equal_outputs_share_a_pass(causal_policy, monkeypatch):
    (prompt,) = causal_policy.encode(["the cat"], 4)
    passes = []
    log_probs = Policy.log_probs

    def counted(*args, **options):
        passes.append(args)
        return log_probs(*args, **options)

    monkeypatch.setattr(Policy, "log_probs", counted)
    found = score_products(causal_policy, prompt, [[5, 6], [7], [5, 6]], 1.0)
    assert len(passes) == 2
    assert found[0, 0] == found[0, 2] == found[2, 2] and found[0, 1] == found[1, 2]
    assert all(weight.grad is None for weight in causal_policy.model.parameters())
