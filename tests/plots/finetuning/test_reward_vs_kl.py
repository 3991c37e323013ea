from __future__ import annotations

import math

import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.folders import make_index, text_run

FIGURE = "reward_vs_kl"

pytestmark = pytest.mark.usefixtures("drawn")


def run(folder, kls: list[float], seed: int, **keys):
    rows = [
        {
            "epoch": i,
            "step": i,
            "rollout_info/ep_rew": i / 10 + seed,
            "objective/kl": kl,
            "elapsed/samples": 32 * (i + 1),
        }
        for i, kl in enumerate(kls)
    ]
    keys.setdefault("alg", {"id": "ppo", "args": {"learning_rate": 0.1}})
    return text_run(
        folder, [*rows, {"epoch": 9, "step": 9, "val/x": 1.0}], random_seed=seed, **keys
    )


def draw(*folders, **options) -> pd.DataFrame:
    return pd.read_csv(plots.draw(FIGURE, list(folders), **options)[-1])


@pytest.fixture
def plan(tmp_path):
    kls = ([0.0, 0.02, 0.5, 1.5], [0.0, 0.02, 150.0, 50.0])
    return make_index(tmp_path, [run(tmp_path / str(i), kl, i) for i, kl in enumerate(kls)])


def test_points_are_means_over_seeds_of_parts_of_the_iterations(plan, drawn):
    table = draw(plan, points=2)
    assert table.columns.tolist() == [
        "line", "point", "iteration", "reward", "reward_std", "kl", "kl_low", "kl_high", "n"
    ]  # fmt: skip
    assert table["iteration"].tolist() == [0.5, 2.5]
    assert table["reward"].tolist() == pytest.approx([0.55, 0.75])
    assert table["reward_std"].tolist() == pytest.approx([math.sqrt(0.5)] * 2)
    assert table["kl"].tolist() == pytest.approx([0.01, 50.5])
    assert table["kl_low"][1] == pytest.approx(50.5 - 99 / math.sqrt(2))
    (axes,) = drawn[0].axes
    assert axes.get_xscale() == "linear" and axes.get_xlabel() == "objective/kl (nats)"
    assert drawn[0].legends[0].get_title().get_text() == (
        "4 iterations, n = 32 outputs in each,\n"
        "K = 1 of an input; means over 2 parts of the iterations"
    )


def test_bars_on_a_logarithmic_axis_are_those_of_logarithms(plan, drawn):
    table = draw(plan, points=2, log_kl=True)
    factor = 10 ** math.sqrt(2)
    assert table.loc[1, ["kl", "kl_low", "kl_high"]].tolist() == pytest.approx(
        [10.0, 10 / factor, 10 * factor]
    )
    assert drawn[0].axes[0].get_xscale() == "log"
    assert draw(plan, points=4, log_kl=True)["point"].tolist() == [1, 2, 3]  # no KL at first


def test_groups_are_lines_and_what_is_missing_is_said(plan, drawn, tmp_path):
    other = run(plan / "other", [0.1, 0.2], 0, alg={"id": "ppo", "args": {"learning_rate": 0.2}})
    assert draw(plan, other)["line"].unique().tolist() == [
        "ppo, learning rate 0.1", "ppo, learning rate 0.2"
    ]  # fmt: skip
    with pytest.raises(
        UserError, match=r"'kl/exact' in the same iterations; choose .*objective/kl"
    ):
        draw(other, kl="kl/exact", output=tmp_path)
    problems = plots.check_options(FIGURE, {"points": 0, "kl": "rollout_info/ep_rew"})
    assert len(problems) == 2
