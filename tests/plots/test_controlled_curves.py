from __future__ import annotations

import math

import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.folders import epoch_row, make_index, make_run

COLUMNS = [
    "variant", "method", "part", "metric", "epoch", "mean", "std", "n", "drawn", "low", "high"
]  # fmt: skip


pytestmark = pytest.mark.usefixtures("drawn")


def draw(*folders, **options) -> pd.DataFrame:
    paths = plots.draw("controlled_curves", list(folders), **options)
    missing = {key: [""] for key in ("std", "low", "high")}
    return pd.read_csv(paths[-1], keep_default_na=False, na_values=missing)


def line(table, columns=("mean", "std", "n"), **key) -> pd.DataFrame:
    for column, value in key.items():
        table = table[table[column] == value]
    return table.set_index("epoch")[list(columns)]


def test_lines_are_means_over_seeds_with_sample_deviation(tmp_path):
    make_index(tmp_path, [
        make_run(tmp_path / "a", [epoch_row(0, -1.0), epoch_row(1, 0.25), epoch_row(2, 0.5)],
                 random_seed=1),
        make_run(tmp_path / "b", [epoch_row(0, -0.5), epoch_row(1, None)], random_seed=2),
        make_run(tmp_path / "c", [epoch_row(0, 0.75), epoch_row(1, 0.75)], random_seed=3),
        make_run(tmp_path / "rft", [epoch_row(0, -1.0)], opt_method="expected_reinforce"),
    ])  # fmt: skip
    table = draw(tmp_path)
    assert table.columns.tolist() == COLUMNS
    sft = line(table, method="supervised", part="small reward std", metric="reward")
    assert sft["n"].tolist() == [3, 2, 1]
    assert sft["mean"].tolist() == [-0.25, 0.5, 0.5]
    assert sft["std"][0] == pytest.approx(math.sqrt((0.75**2 + 0.25**2 + 1.0**2) / 2))
    assert sft["std"][1] == pytest.approx(math.sqrt(2 * 0.25**2))
    assert math.isnan(sft["std"][2])
    others = line(table, method="supervised", part="large reward std", metric="reward")
    assert others.iloc[0].tolist() == [0.5, 0.0, 3]
    rft = line(table, method="expected_reinforce", part="small reward std", metric="grad norm")
    assert rft["mean"].tolist() == [-1.0] and rft["n"].tolist() == [1]
    assert set(table["metric"]) == {"reward", "train accuracy", "grad norm", "avg reward std"}
    assert set(table["part"]) == {"small reward std", "large reward std"}


def test_smoothing_changes_the_line_but_not_the_csv(tmp_path, drawn):
    run = make_run(tmp_path / "a", [epoch_row(epoch, epoch / 4) for epoch in (0, 1, 3)])
    raw = draw(run, output=tmp_path / "raw", metrics=["reward"])
    smoothed = draw(run, output=tmp_path / "smooth", metrics=["reward"], smooth=3)
    pd.testing.assert_frame_equal(raw, smoothed)
    (axes,) = drawn[0].axes
    others, changed = sorted(axes.lines, key=lambda one: one.get_ydata()[-1])[::-1]
    assert changed.get_ydata().tolist() == pytest.approx([0.125, 1 / 3, 0.5])
    assert others.get_ydata().tolist() == [0.5, 0.5, 0.5]


def test_one_row_per_variant_with_its_own_numbers(tmp_path, drawn):
    make_index(tmp_path, [
        make_run(tmp_path / "a", [epoch_row(0, 0.25)]),
        make_run(tmp_path / "b", [epoch_row(0, 0.5)], optimizer="sgd", lr=0.01),
    ])  # fmt: skip
    table = draw(tmp_path, metrics=["reward", "grad norm"])
    sgd = line(table, variant="sgd, lr 1e-2", part="small reward std", metric="reward")
    assert sgd["mean"].tolist() == [0.5]
    axes = drawn[0].axes
    assert [one.get_title(loc="left").strip() for one in axes] == [
        "adam, lr 1e-4", "", "sgd, lr 1e-2", ""
    ]  # fmt: skip
    assert [one.get_title() for one in axes] == ["reward", "gradient norm"] * 2
    assert [one.lines[0].get_ydata().tolist() for one in axes] == [[0.25], [0.25], [0.5], [0.5]]
    assert drawn[0].get_suptitle() == "MNIST, MLP"


def test_the_reward_axis_holds_the_rewards(tmp_path, drawn):
    run = make_run(tmp_path / "a", [epoch_row(0, -0.5)])
    draw(run, metrics=["reward"], output=tmp_path)
    assert drawn[0].axes[0].get_ylim() == pytest.approx((-1.08, 1.08))
    assert drawn[0].axes[0].get_yticks().tolist() == [-1, 0, 1]
    run = make_run(tmp_path / "b", [epoch_row(0, -3.0)])
    draw(run, metrics=["reward"], output=tmp_path)
    assert drawn[0].axes[0].get_ylim()[0] < -3


def test_the_gradient_axis_ends_at_positive_means(tmp_path, drawn):
    rows = [epoch_row(0, 1e-30, 2.0), epoch_row(1, 0.0, 1.0)]
    draw(make_run(tmp_path / "a", rows), metrics=["grad norm"], output=tmp_path)
    (axes,) = drawn[0].axes
    assert axes.get_yscale() == "log"
    assert axes.get_ylim() == pytest.approx((2e-6 / 1.5, 3.0))
    draw(make_run(tmp_path / "zero", [epoch_row(0, 0.0, 0.0)]), output=tmp_path)
    drawn[0].draw_without_rendering()


def test_bands_on_logarithmic_axes_are_those_of_logarithms(tmp_path, drawn):
    runs = [
        make_run(tmp_path / "a", [epoch_row(0, 0.01)], random_seed=1),
        make_run(tmp_path / "b", [epoch_row(0, 1.0)], random_seed=2),
    ]
    table = draw(*runs, metrics=["reward", "grad norm"], output=tmp_path)
    band = ["mean", "drawn", "low", "high"]
    factor = 10 ** math.sqrt(2)  # the logarithms are 1 to each side of -1, with ddof 1
    of_gradient = line(table, part="small reward std", metric="grad norm", columns=band)
    assert of_gradient.iloc[0].tolist() == pytest.approx([0.505, 0.1, 0.1 / factor, 0.1 * factor])
    std = 0.99 / math.sqrt(2)
    of_reward = line(table, part="small reward std", metric="reward", columns=band)
    assert of_reward.iloc[0].tolist() == pytest.approx([0.505, 0.505, 0.505 - std, 0.505 + std])
    bands = [band.get_paths()[0].vertices for band in drawn[0].axes[1].collections]
    assert all((vertices[:, 1] > 0).all() for vertices in bands)


def test_logarithmic_epochs_show_the_first_epoch(tmp_path, drawn):
    draw(make_run(tmp_path / "a", [epoch_row(0, 0.5), epoch_row(9, 0.5)]), output=tmp_path,
         log_epochs=True)  # fmt: skip
    axes = drawn[0].axes[0]
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "epoch + 1"
    assert axes.lines[0].get_xdata().tolist() == [1, 10]


def test_metrics_that_are_missing_are_said_to_be(tmp_path, drawn):
    run = make_run(tmp_path / "a", [epoch_row(0, 0.5)])
    draw(run, metrics=["reward", "normalized grad norm"], output=tmp_path)
    assert [text.get_text() for text in drawn[0].axes[1].texts] == ["not measured"]
    with pytest.raises(UserError, match="no run measured normalized grad norm"):
        draw(run, metrics=["normalized grad norm"], output=tmp_path)


@pytest.mark.parametrize("metrics", [["reward"], ["reward", "grad norm", "avg reward std"]])
def test_the_legend_counts_runs_and_covers_no_panel(tmp_path, drawn, metrics):
    runs = [
        make_run(tmp_path / "a", [epoch_row(0, 0.25)]),
        make_run(tmp_path / "b", [epoch_row(0, 0.25)], random_seed=8),
        make_run(tmp_path / "c", [epoch_row(0, 0.25)], lr=1.0),
        make_run(tmp_path / "d", [epoch_row(0, 0.25)], opt_method="reinforce"),
    ]
    draw(make_index(tmp_path, runs), metrics=metrics)
    figure = drawn[0]
    figure.draw_without_rendering()
    (legend,) = figure.legends
    texts = [text.get_text() for text in legend.get_texts() if text.get_text()]
    assert texts == [
        "SFT (1 to 2 runs)",
        "RFT sampled (1 run)",
        "changed inputs (small reward std)",
        "other inputs (large reward std)",
        "± 1 standard deviation",
    ]
    page, below = figure.bbox, legend.get_window_extent()
    assert page.x0 <= below.x0 and below.x1 <= page.x1 and page.y0 <= below.y0
    for axes in figure.axes:
        panel = axes.get_tightbbox()
        assert not below.overlaps(panel)
        assert page.x0 <= panel.x0 and panel.x1 <= page.x1


def test_bands_have_the_deviation_to_each_side(tmp_path, drawn):
    runs = [
        make_run(tmp_path / f"{seed}", [epoch_row(0, value), epoch_row(1, value)],
                 random_seed=seed)
        for seed, value in ((1, 0.25), (2, 0.75))
    ]  # fmt: skip
    draw(make_index(tmp_path, runs), metrics=["reward"])
    heights = drawn[0].axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(0.5 - math.sqrt(0.125))
    assert heights.max() == pytest.approx(0.5 + math.sqrt(0.125))
