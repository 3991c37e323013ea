from __future__ import annotations

import json
import math

import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.folders import make_index

pytestmark = pytest.mark.usefixtures("drawn")


def run(folder, epsilon, method, time, *, steps=None, **config):
    folder.mkdir(parents=True)
    keys = {"opt_method": method, "epsilon": epsilon, "feature_norm": 1.0, **config}
    (folder / "config.json").write_text(json.dumps(keys))
    last = {"time": time, "closed_form_time": time, "steps_times_lr": steps, "steps": steps}
    (folder / "summary.json").write_text(json.dumps({"score": time, "last": last}))
    return folder


def times(folder, epsilons, **config):
    """RFT takes 3 epsilon^-2, SFT 5 + 2 log(1 / epsilon)."""
    laws = {
        "expected_reinforce": lambda epsilon: 3 * epsilon**-2,
        "supervised": lambda epsilon: 5 - 2 * math.log(epsilon),
    }
    return [
        run(folder / f"{method}-{epsilon}", epsilon, method, law(epsilon),
            steps=1.0 if epsilon == 0.1 else None, **config)
        for method, law in laws.items()
        for epsilon in epsilons
    ]  # fmt: skip


def draw(plan, **options) -> pd.DataFrame:
    return pd.read_csv(plots.draw("learning_time", [plan], **options)[-1])


def test_slopes_are_fitted_and_written(tmp_path, drawn):
    table = draw(make_index(tmp_path, times(tmp_path, [1e-3, 0.1, 1e-2])))
    assert table.columns.tolist() == [
        "variant", "method", "epsilon", "time", "closed_form_time", "steps_times_lr",
        "fitted_slope",
    ]  # fmt: skip
    slopes = table.groupby("method")["fitted_slope"].unique()
    assert slopes["expected_reinforce"] == pytest.approx([2])
    assert slopes["supervised"] == pytest.approx([2])
    assert table["epsilon"].tolist() == [0.1, 1e-2, 1e-3] * 2
    both, alone = drawn[0].axes
    assert [text.get_text() for text in both.texts] == [
        r"SFT: time $\approx$ 2.00 ln(1/$\epsilon$) + const",
        r"RFT expected: time $\propto$ (1/$\epsilon$)$^{2.00}$",
    ]
    assert len(alone.texts) == 1
    assert (both.get_xscale(), both.get_yscale()) == ("log", "log")
    assert (alone.get_xscale(), alone.get_yscale()) == ("log", "linear")
    texts = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert texts == [
        "SFT, flow integrated", "RFT expected, flow integrated", "closed form",
        "gradient steps × step size",
    ]  # fmt: skip


def test_only_small_epsilons_are_fitted(tmp_path, drawn):
    runs = [*times(tmp_path, [0.01, 0.02]), run(tmp_path / "x", 1.0, "supervised", 77.0)]
    table = draw(make_index(tmp_path, runs))
    assert table["fitted_slope"].tolist() == pytest.approx([2.0] * 5)
    table = draw(tmp_path, fit_below=0.015)
    assert table["fitted_slope"].isna().all()
    assert "too few runs for a slope" in drawn[0].axes[0].texts[0].get_text()
    assert plots.check_options("learning_time", {"fit_below": 0.0}) == [
        "'fit_below' = 0.0: must be greater than 0"
    ]


def test_other_keys_that_vary_make_rows(tmp_path, drawn):
    runs = times(tmp_path / "a", [0.1, 0.01]) + times(tmp_path / "b", [0.1, 0.01], feature_norm=2.0)
    for folder in runs:
        folder.rename(tmp_path / f"{folder.parent.name}-{folder.name}")
    draw(make_index(tmp_path, [tmp_path / f"{f.parent.name}-{f.name}" for f in runs]))
    rows = [axes.get_title(loc="left").strip() for axes in drawn[0].axes[::2]]
    assert rows == ["feature norm 1", "feature norm 2"]


def test_one_method_alone_can_be_drawn(tmp_path, drawn):
    table = draw(run(tmp_path / "a", 0.1, "expected_reinforce", 3.0), output=tmp_path)
    assert len(table) == 1
    drawn[0].draw_without_rendering()


def test_runs_of_other_experiments_are_passed_over(tmp_path, caplog):
    fit = tmp_path / "fit"
    fit.mkdir()
    (fit / "config.json").write_text("{}")
    (fit / "summary.json").write_text(json.dumps({"score": 1.0, "last": {"train loss": 1.0}}))
    with pytest.raises(UserError, match="times of the experiment 'linear_theory'"):
        draw(fit)
    assert caplog.text == ""
    (fit / "summary.json").write_text("[1")
    with pytest.raises(UserError):
        draw(fit)
    assert "summary.json: left out, cannot be read" in caplog.text
