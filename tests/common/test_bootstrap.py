"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from common.bootstrap import bootstrap


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    values = np.random.default_rng(0).normal(1.0, 1.0, (40, 200))
    low, high = bootstrap(values, lambda drawn: drawn.mean(0), seed=0)
    assert 0.9 <= ((low <= 1.0) & (high >= 1.0)).mean() <= 0.98


def test_several_statistics_have_the_intervals_of_each() -> None:
    values = np.random.default_rng(1).normal(size=(20, 3))
    low, high = bootstrap(values, lambda drawn: drawn.mean(0), seed=3)
    for column in range(3):
        alone = bootstrap(values[:, column], lambda drawn: drawn.mean(), seed=3)
        assert (low[column], high[column]) == pytest.approx(alone)
