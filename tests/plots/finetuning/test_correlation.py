from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from plots.finetuning.correlation import Correlation, binned_means, pearson, spearman


@pytest.fixture
def numbers():
    draw = np.random.default_rng(1)
    x = draw.normal(size=200)
    return x, np.exp(x + draw.normal(size=200))


def test_the_interval_of_pearson_is_that_of_fisher(numbers):
    x, y = numbers
    found = pearson(x, y)
    assert found.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    half = stats.norm.ppf(0.975) / math.sqrt(len(x) - 3)
    assert [math.atanh(end) - math.atanh(found.value) for end in (found.low, found.high)] == (
        pytest.approx([-half, half])
    )


def test_the_interval_of_spearman_is_a_bootstrap_over_inputs(numbers):
    x, y = numbers
    found = spearman(x, y)
    assert found.value == pytest.approx(stats.spearmanr(x, np.log(y)).statistic)
    assert found.low < found.value < found.high
    library = stats.bootstrap(
        (x, y), lambda x, y: stats.spearmanr(x, y).statistic, paired=True, vectorized=False,
        n_resamples=400, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((library.low, library.high), abs=0.02)
    assert spearman(x, y) == found


def test_few_or_constant_numbers_have_no_interval_or_no_correlation():
    rising = np.arange(3.0)
    assert pearson(rising, rising).value == pytest.approx(1)
    assert math.isnan(pearson(rising, rising).low)
    assert math.isnan(spearman(np.arange(9.0), np.arange(9.0)).low)
    for correlation in (pearson, spearman):
        assert str(correlation(rising, np.ones(3))) == "undefined"
        assert str(correlation(rising[:2], rising[:2])) == "undefined"


def test_a_correlation_is_shown_with_its_interval():
    assert str(Correlation(-0.5, -0.612, 0.1)) == "\u22120.50 [\u22120.61, 0.10]"
    assert str(Correlation(0.5)) == "0.50"


def test_means_of_bins_have_students_intervals():
    x = np.array([0.0, 0.1, 0.2, 0.9, 1.0])
    bins = binned_means(x, np.array([1.0, 2.0, 6.0, 5.0, 7.0]), 4)
    assert bins["n"].tolist() == [3, 2]
    assert bins["x"].tolist() == pytest.approx([0.1, 0.95])
    assert bins["y"].tolist() == pytest.approx([3, 6])
    low, high = stats.t.interval(0.95, 2, loc=3, scale=stats.sem([1.0, 2.0, 6.0]))
    assert bins.loc[0, ["low", "high"]].tolist() == pytest.approx([low, high])
    (constant,) = binned_means(np.zeros(3), np.array([1.0, 2.0, 3.0]), 4)["y"]
    assert constant == pytest.approx(2)
