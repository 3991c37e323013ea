"""Weights at the start that give probabilities, and refusals of those that none give."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import UserError
from sft_vs_rft.log_linear.policy import log_softmax
from sft_vs_rft.log_linear.start import closest_weights, exact_weights


def test_logits_may_have_a_constant_that_the_published_solver_does_not_use() -> None:
    """Of four logits three features give three dimensions, and a constant the last one."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2, 4, 3)) + 5
    for temperature in (1.0, 0.5):
        wanted = np.exp(log_softmax(features @ np.array([0.3, -1, 0.5]) / temperature))
        weights = exact_weights(features, wanted, temperature)
        assert np.exp(log_softmax(features @ weights / temperature)) == pytest.approx(wanted)
        closest = closest_weights(features, wanted, temperature)
        assert np.exp(log_softmax(features @ closest / temperature)) != pytest.approx(
            wanted, abs=1e-3
        )


def test_probabilities_that_no_weights_give_are_refused_with_the_worst() -> None:
    features = np.array([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])  # two outputs are alike
    with pytest.raises(UserError) as caught:
        exact_weights(features, np.array([[0.6, 0.1, 0.3]]), 1.0)
    assert "output 0 of input 0 has 0.3" in str(caught.value)
    assert "'weights_solver' = 'published'" in str(caught.value)
    weights = exact_weights(features, np.array([[0.35, 0.35, 0.3]]), 1.0)
    assert np.exp(log_softmax(features @ weights)).ravel() == pytest.approx([0.35, 0.35, 0.3])
