from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.folders import reward_stats, sampled_run

FIGURE = "expected_gradients"
STDS = [0.0, 0.1, 0.2, 0.4]
SQUARED, ERRORS = [0.0, -1e-4, 1e-2, 4e-2], [0.0, 1e-3, 1e-3, 1e-2]


@pytest.fixture
def run(tmp_path):
    table = reward_stats([0.5] * 4, STDS).assign(grad_squared_norm=SQUARED,
                                                 grad_squared_norm_se=ERRORS)  # fmt: skip
    return sampled_run(tmp_path / "sft", table, experiment_name="SFT")


def test_norms_limits_and_the_slope_are_drawn(run, tmp_path, drawn):
    table = pd.read_csv(plots.draw(FIGURE, [run], output=tmp_path)[-1])
    assert table["measured"].tolist() == [False, False, True, True]
    np.testing.assert_allclose(table["norm"], [0, np.nan, 0.1, 0.2])
    (axes,) = drawn[0].axes
    assert axes.get_title() == "SFT"
    assert axes.texts[0].get_text() == "1 of 4 inputs: std 0, norm 0"
    x, y = axes.lines[-1].get_data()
    np.testing.assert_allclose(y / x ** (2 / 3), max(0.1 / 0.2 ** (2 / 3), 0.2 / 0.4 ** (2 / 3)))
    (limit,) = axes.collections[-1].get_offsets().tolist()
    assert limit == pytest.approx([0.1, (2e-3) ** 0.5])


def test_all_silent_inputs_and_none_measured_are_drawn_too(tmp_path, drawn):
    for name, stds in (("silent", [0.0, 0.0]), ("noisy", [0.0, 0.3])):
        table = reward_stats([0.5] * 2, stds).assign(grad_squared_norm=0.0,
                                                     grad_squared_norm_se=stds)  # fmt: skip
        plots.draw(FIGURE, [sampled_run(tmp_path / name, table)], output=tmp_path)


def test_runs_without_estimates_are_named(tmp_path):
    run = sampled_run(tmp_path / "plain", reward_stats([0.5], [0.1]))
    with pytest.raises(UserError, match=r"set 'evaluation\.gradients'"):
        plots.draw(FIGURE, [run], output=tmp_path)
