from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest

import plots
from common.errors import UserError
from plots.kl_penalties.pareto_front import front
from tests.conftest import PROJECT
from tests.plots.folders import make_index, text_run

FIGURE = "pareto_front"
REWARD, DRIFT = "semantic/learned_automodel_metric", "fluency_metrics/perplexity"

pytestmark = pytest.mark.usefixtures("drawn")


def row(step: int, reward: float, drift: float, split: str = "val") -> dict[str, float]:
    values = {f"{split}/{REWARD}": reward, f"{split}/{DRIFT}": drift}
    return {"epoch": step, "step": step, **values}


def run(folder, rows, *, grad=False, reward=False, target=0.1, alg=None, **keys):
    of_alg = {
        "id": "ppo_kl",
        "args": {"analytic_kl_grad": grad, **(alg or {})},
        "kl_div": {"coeff": 0.1, "target_kl": target, "analytic_kl_reward": reward},
    }
    return text_run(folder, rows, alg=of_alg, **keys)


def draw(*paths, **options) -> pd.DataFrame:
    return pd.read_csv(plots.draw(FIGURE, list(paths), **options)[-1], keep_default_na=True)


def test_a_point_is_dominated_only_if_worse_in_both():
    reward = np.array([1.0, 2.0, 2.0, 3.0, 0.5])
    drift = np.array([1.0, 1.0, 2.0, 3.0, 2.0])
    # (1, 1) drifts as little as (2, 1), and (2, 2) is worth as much: neither is worse in both
    assert front(reward, drift).tolist() == [True, True, True, True, False]
    assert front(np.array([]), np.array([])).tolist() == []


def test_points_are_means_over_seeds_of_each_strength_and_step(tmp_path, drawn):
    runs = [
        run(tmp_path / f"{target}-{seed}", [row(0, 0.5, 30), row(10, height + seed, 32)],
            target=target, random_seed=seed)
        for target, height in ((0.1, 0.6), (0.5, 0.4)) for seed in (0, 1)
    ]  # fmt: skip
    table = draw(make_index(tmp_path, runs))
    assert table.columns.tolist() == [
        "setting", "mode", "strength", "step", "reward_mean", "reward_std", "drift_mean",
        "drift_std", "n", "split", "on_front",
    ]  # fmt: skip
    numbers = table[["strength", "step", "reward_mean", "drift_mean", "n", "on_front"]]
    assert numbers.to_numpy().tolist() == [
        [0.1, 0, 0.5, 30, 2, True], [0.1, 10, pytest.approx(1.1), 32, 2, True],
        [0.5, 0, 0.5, 30, 2, True], [0.5, 10, pytest.approx(0.9), 32, 2, True],
    ]  # fmt: skip
    assert table["reward_std"].tolist() == pytest.approx([0, math.sqrt(0.5)] * 2)
    (axes,) = drawn[0].axes
    assert axes.lines[0].get_xydata()[:, 1].tolist() == pytest.approx([0.5, 0.5, 1.1, 0.9])
    assert (axes.get_xlabel(), axes.get_ylabel()) == (DRIFT, REWARD)


def test_each_mode_has_its_front_and_its_colour(tmp_path, drawn):
    runs = [
        run(tmp_path / f"{grad}{reward}", [row(0, 0.5, 30), row(5, 0.4, 31), row(9, 0.9, 35)],
            grad=grad, reward=reward)
        for grad in (False, True) for reward in (False, True)
    ]  # fmt: skip
    table = draw(make_index(tmp_path, runs))
    assert table["mode"].unique().tolist() == [
        "sampled KL", "exact KL in the reward", "exact KL in the gradient", "exact KL in both"
    ]  # fmt: skip
    assert table["on_front"].tolist() == [True, False, True] * 4
    (axes,) = drawn[0].axes
    assert len({line.get_color() for line in axes.lines}) == 4
    assert all(line.get_xdata().tolist() == [30, 35] for line in axes.lines)
    labels = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert labels[0] == "sampled KL" and "std" not in " ".join(labels)
    drawn[0].draw_without_rendering()
    page, below = drawn[0].bbox, drawn[0].legends[0].get_window_extent()
    assert page.x0 <= below.x0 and below.x1 <= page.x1 and page.y0 <= below.y0


def test_other_splits_are_drawn_at_the_points_that_validation_chose(tmp_path, drawn):
    rows = [
        row(0, 0.5, 30), row(0, 0.9, 30, "test"), row(5, 0.4, 31), row(5, 1.0, 31, "test"),
        row(9, 0.9, 200), row(9, 1.0, 80, "test"), row(12, 0.95, 90),
    ]  # fmt: skip
    plan = make_index(tmp_path, [run(tmp_path / "a", rows)])
    table = draw(plan, splits=["val", "test"])
    assert table[["split", "step"]].to_numpy().tolist() == [
        ["val", 0], ["val", 5], ["val", 9], ["test", 0], ["test", 5], ["test", 9]
    ]  # fmt: skip
    assert table["on_front"].tolist() == [True, False, True] * 2
    assert [axes.get_title(loc="right") for axes in drawn[0].axes] == ["validation", "test"]
    assert {axes.get_xscale() for axes in drawn[0].axes} == {"linear"}
    near = draw(plan, splits=["test"], largest_drift=100, log_drift=True)
    assert drawn[0].axes[0].get_xscale() == "log"
    assert near["step"].tolist() == [0, 5]  # step 9 drifts too far in validation


def test_steps_that_not_all_seeds_measured_are_left_out(tmp_path):
    runs = [
        run(tmp_path / "a", [row(0, 0.5, 30), row(5, 0.7, 31)], random_seed=1),
        run(tmp_path / "b", [row(0, 0.5, 30)], random_seed=2),
    ]
    assert draw(make_index(tmp_path, runs))["step"].tolist() == [0]


def test_metrics_without_a_split_and_coefficients_serve_too(tmp_path):
    rows = [{"epoch": 1, "step": 1, "rollout_info/ep_rew": 0.5, "rollout_info/kl_div_mean": 0.1}]
    options = {"reward": "rollout_info/ep_rew", "drift": "rollout_info/kl_div_mean"}
    table = draw(run(tmp_path / "a", rows, target=None), output=tmp_path, **options)
    assert table[["strength", "reward_mean", "drift_mean"]].to_numpy().tolist() == [[0.1, 0.5, 0.1]]


def test_other_settings_have_rows_of_their_own(tmp_path, drawn):
    runs = [
        run(tmp_path / f"{epochs}", [row(0, 0.5, 30)], alg={"n_epochs": epochs})
        for epochs in (1, 5)
    ]  # fmt: skip
    table = draw(make_index(tmp_path, runs))
    assert table["setting"].tolist() == ["n epochs 1", "n epochs 5"]
    assert len(drawn[0].axes) == 2


def test_what_is_missing_is_named(tmp_path):
    rows = [{"epoch": 1, "step": 1, "val/length": 3.0}]
    with pytest.raises(UserError, match=r"'fluency_metrics/perplexity' on val; choose .*val/leng"):
        draw(run(tmp_path / "a", rows), output=tmp_path)
    with pytest.raises(UserError, match="below 20 on val"):
        draw(run(tmp_path / "b", [row(0, 0.5, 30)]), output=tmp_path, largest_drift=20)
    supervised = text_run(tmp_path / "c", [row(0, 0.5, 30)], alg={"id": "supervised"})
    with pytest.raises(UserError, match="no run has a KL penalty"):
        draw(supervised, output=tmp_path)
    problems = plots.check_options(FIGURE, {"splits": ["val", "val"], "drift": REWARD})
    assert len(problems) == 2 and "each once" in problems[0] and "must differ" in problems[1]


def test_the_shipped_grid_asks_for_this_figure():
    path = PROJECT / "experiment_plans/grue/analytic_kl/imdb_grid.json"
    plan = json.loads(path.read_text())
    (wanted,) = plan["figures"]
    assert plots.check_options(wanted.pop("figure"), wanted) == []
