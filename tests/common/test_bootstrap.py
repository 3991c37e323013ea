"""Bootstrap intervals."""

from __future__ import annotations

import numpy as np
import pytest

from common.bootstrap import bootstrap


@pytest.mark.parametrize("num_cases", [5, 10, 40])
def test_an_interval_covers_the_mean_as_often_as_it_says(num_cases: int) -> None:
    """Also of few cases: plain percentiles of five would cover it in 84 %."""
    values = np.random.default_rng(0).normal(1.0, 1.0, (num_cases, 2000))
    low, high = bootstrap(values, lambda drawn: drawn.mean(0), seed=0)
    assert 0.9 <= ((low <= 1.0) & (high >= 1.0)).mean() <= 0.97


def test_one_case_has_no_interval() -> None:
    values = np.array([[1.0, 2.0]])
    assert np.isnan(bootstrap(values, lambda drawn: drawn.mean(0), seed=0)).all()


def test_several_statistics_have_the_intervals_of_each() -> None:
    values = np.random.default_rng(1).normal(size=(20, 3))
    low, high = bootstrap(values, lambda drawn: drawn.mean(0), seed=3)
    for column in range(3):
        alone = bootstrap(values[:, column], lambda drawn: drawn.mean(), seed=3)
        assert (low[column], high[column]) == pytest.approx(alone)
