"""The intent reward: accuracy and METEOR, each with its weight."""

from __future__ import annotations

import numpy as np
import pytest

from grue.rewards import intent_accuracy
from grue.rewards.intent_accuracy import IntentAccuracy
from tests.grue.judging import texts

ACCURACY, METEOR = np.array([1.0, 0.0, 1.0]), np.array([0.2, 0.6, 0.1])
GIVEN = texts(["a", "b", "c"])


class Fixed:
    def __init__(self, **values: np.ndarray) -> None:
        self.values = values

    def scores(self, _: object) -> dict[str, np.ndarray]:
        return {name.replace("__", "/"): found for name, found in self.values.items()}


def reward(monkeypatch: pytest.MonkeyPatch, **args: object) -> np.ndarray:
    monkeypatch.setattr(intent_accuracy, "_meteor", lambda: Fixed(lexical__meteor=METEOR))
    made = IntentAccuracy(IntentAccuracy.Args(**args))
    made._intent = Fixed(intent__accuracy=ACCURACY)
    return made(GIVEN)


def test_both_are_weighted_and_added(monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_allclose(reward(monkeypatch), ACCURACY + METEOR)
    found = reward(monkeypatch, intent_coeff=0.25, auto_coeff=0.75)
    np.testing.assert_allclose(found, 0.25 * ACCURACY + 0.75 * METEOR)
    found = reward(monkeypatch, shape=False, intent_coeff=0.5)
    np.testing.assert_allclose(found, 0.5 * ACCURACY)


def test_the_published_shaping_is_a_running_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    found = reward(monkeypatch, running_mean_meteor=True)
    np.testing.assert_allclose(found, ACCURACY + np.array([0.2, 0.4, 0.3]))
