from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.folders import make_index, make_run, reward_stats, sampled_run, text_run

FIGURE = "reward_mean_std"
MEANS, STDS = [0.0, 0.0, 0.25, 0.5, 1.0], [0.0, 0.0, 0.001, 0.3, 0.0]
SHARES = "std below 0.01: 80%, zero: 60%"


def draw(*paths, **options) -> pd.DataFrame:
    return pd.read_csv(plots.draw(FIGURE, list(paths), **options)[-1])


def titles(figure) -> list[str]:
    """The panels' titles, which stand above their upper histograms."""
    return [axes.child_axes[0].get_title() for axes in figure.axes]


@pytest.fixture
def run(tmp_path):
    return sampled_run(tmp_path / "sft", reward_stats(MEANS, STDS), experiment_name="SFT")


@pytest.fixture
def plan(tmp_path):
    """Two runs that sample, between others."""
    folder = tmp_path / "plan"
    table = reward_stats(MEANS, STDS)
    runs = [
        text_run(
            folder / "sft", [{"epoch": 0.0, "step": 0, "loss": 1.0}], alg={"id": "supervised"}
        ),
        sampled_run(folder / "before", table, experiment_name="before"),
        make_run(folder / "digits"),
        sampled_run(folder / "after", table.assign(std=0.5), experiment_name="after"),
    ]
    return make_index(folder, runs)


def test_the_csv_has_the_numbers_of_the_runs(tmp_path, drawn):
    tables = [reward_stats(MEANS, STDS), reward_stats([0.3, 0.123456789], [0.1, 0.2])]
    runs = [
        sampled_run(tmp_path / name, table, experiment_name=name)
        for name, table in zip(("b", "a"), tables, strict=True)
    ]
    table = draw(*runs, output=tmp_path)
    assert table.columns.tolist() == [
        "panel", "run", "input_id", "metric", "n", "mean", "std", "min", "max", "zero_std",
        "low_std",
    ]  # fmt: skip
    assert table["panel"].tolist() == ["b"] * 5 + ["a"] * 2
    expected = pd.concat(tables, ignore_index=True).drop(columns="num_distinct")
    pd.testing.assert_frame_equal(table[expected.columns], expected)
    assert table["low_std"].tolist() == [True, True, True, False, True, False, False]


def test_shares_threshold_and_sizes_are_said(run, drawn, tmp_path):
    draw(run, output=tmp_path)
    (axes,) = drawn[0].axes
    assert titles(drawn[0]) == [f"SFT\n{SHARES}"]
    assert axes.lines[0].get_ydata() == [0.01, 0.01]
    legend = drawn[0].legends[0]
    assert legend.get_title().get_text() == "n = 5 inputs, K = 10 samples of each (std with ddof 1)"
    assert [text.get_text() for text in legend.get_texts()] == [
        "input with std below 0.01", "other input", "largest std of rewards from 0 to 1"
    ]  # fmt: skip
    assert drawn[0].get_suptitle() == "commongen, meteor"


def test_the_threshold_can_be_chosen(run, drawn, tmp_path):
    table = draw(run, output=tmp_path, low_std=0.0005)
    assert table["low_std"].mean() == pytest.approx(0.6)
    assert titles(drawn[0]) == ["SFT\nstd below 0.0005: 60%, zero: 60%"]


def test_the_threshold_is_that_of_the_runs(tmp_path, drawn):
    table = reward_stats(MEANS, STDS)
    run = sampled_run(tmp_path / "a", table, evaluation={"low_std": 0.4})
    assert draw(run, output=tmp_path)["low_std"].all()
    other = sampled_run(tmp_path / "b", table)
    with pytest.raises(UserError, match=r"different .*0\.01, 0\.4; choose one with --low_std"):
        draw(run, other, output=tmp_path)


def test_a_plan_gives_its_runs_that_sample_in_its_order(plan, drawn, caplog):
    table = draw(plan)
    assert table["panel"].unique().tolist() == ["before", "after"]
    assert table["run"].unique().tolist() == ["before", "after"]
    assert caplog.text == ""
    assert titles(drawn[0])[0] == f"before\n{SHARES}"


def test_a_plan_without_runs_that_sample_says_so(tmp_path):
    plan = make_index(tmp_path, [text_run(tmp_path / "sft"), make_run(tmp_path / "digits")])
    with pytest.raises(UserError, match=r"no run has .*reward_stats\.parquet") as raised:
        draw(plan)
    assert 'give runs of the experiment "grue_extract"' in str(raised.value)


def test_a_missing_table_is_named(tmp_path, plan, drawn, caplog):
    unfinished = sampled_run(tmp_path / "unfinished", status="running")
    draw(plan, unfinished)
    assert "unfinished/reward_stats.parquet: missing" in caplog.text
    with pytest.raises(UserError, match=r"reward_stats\.parquet"):
        draw(unfinished, output=tmp_path)


def test_unreadable_tables_are_named(tmp_path, run, drawn, caplog):
    bare = sampled_run(tmp_path / "bare", reward_stats([1.0], [0.5]).drop(columns="std"))
    torn = sampled_run(tmp_path / "torn")
    (torn / "reward_stats.parquet").write_bytes(b"PAR1 torn")
    draw(bare, torn, run, output=tmp_path)
    assert caplog.text.count("left out, cannot be read") == 2


def test_one_sample_per_input_cannot_be_drawn(tmp_path, caplog):
    table = reward_stats([0.5, 1.0], [np.nan, np.nan], num_samples=1)
    with pytest.raises(UserError, match="at least 2 samples per input"):
        draw(sampled_run(tmp_path / "single", table), output=tmp_path)
    assert "one sample per input has no std" in caplog.text


def test_mixed_metrics_are_refused_until_one_is_chosen(tmp_path, drawn):
    meteor, rouge = reward_stats([0.5], [0.1]), reward_stats([0.7], [0.2], metric="rouge")
    runs = [
        sampled_run(tmp_path / "one", meteor, rouge, experiment_name="one"),
        sampled_run(tmp_path / "two", rouge, meteor, experiment_name="two"),
    ]
    with pytest.raises(UserError, match="different first metrics") as raised:
        draw(*runs, output=tmp_path)
    assert "  one: meteor, rouge\n  two: rouge, meteor" in str(raised.value)
    table = draw(*runs, output=tmp_path, metric="rouge")
    assert table["mean"].tolist() == [0.7, 0.7]
    with pytest.raises(UserError, match="'metric' = 'bleu': one has none such; it has meteor, rou"):
        draw(*runs, output=tmp_path, metric="bleu")


def test_runs_of_one_name_are_told_apart(tmp_path, drawn):
    table = reward_stats(MEANS, STDS)
    runs = [
        sampled_run(tmp_path / "a", table),
        sampled_run(tmp_path / "b", table, random_seed=8),
        sampled_run(tmp_path / "c", table, random_seed=8, datapool={"id": "imdb"}),
        sampled_run(tmp_path / "d", table, experiment_name="other"),
    ]
    panels = draw(*runs, output=tmp_path)["panel"].unique().tolist()
    assert panels == [
        "exp, random seed 7, commongen", "exp, random seed 8, commongen",
        "exp, random seed 8, imdb", "other",
    ]  # fmt: skip
    again = draw(runs[0], sampled_run(tmp_path / "rep", table), output=tmp_path)
    assert again["panel"].unique().tolist() == ["a", "rep"]


def test_sizes_that_differ_are_said_by_panel(tmp_path, drawn):
    runs = [
        sampled_run(tmp_path / "a", reward_stats(MEANS, STDS), experiment_name="a"),
        sampled_run(tmp_path / "b", reward_stats([0.5], [0.1], num_samples=4), experiment_name="b"),
    ]
    draw(*runs, output=tmp_path)
    caption = drawn[0].legends[0].get_title().get_text()
    assert caption == "n = 5 / 1 inputs, K = 10 / 4 samples of each (std with ddof 1)"


def test_a_grid_has_data_sets_as_rows_and_models_as_columns(tmp_path, drawn):
    low, high = reward_stats(MEANS, STDS), reward_stats([5.0, 9.0], [1.0, 2.0], metric="length")
    high = high.assign(min=0.0, max=10.0)
    game, imdb = {"datapool": {"id": "word_game"}}, {"datapool": {"id": "imdb"}}
    runs = [
        sampled_run(tmp_path / "a", low, experiment_name="before", **game),
        sampled_run(tmp_path / "b", low, experiment_name="RFT", random_seed=0, **game),
        sampled_run(tmp_path / "c", low, experiment_name="RFT", random_seed=1, **game),
        sampled_run(tmp_path / "d", high, experiment_name="RFT", **imdb),
    ]
    table = draw(*runs, output=tmp_path, grid=True)
    panels = table.groupby(["dataset", "panel"], sort=False)["run"].unique().map(list)
    assert panels.to_dict() == {
        ("word game", "before"): ["a"], ("word game", "RFT"): ["b", "c"], ("imdb", "RFT"): ["d"]
    }  # fmt: skip
    assert table["metric"].unique().tolist() == ["meteor", "length"]
    axes = drawn[0].axes
    assert [one.get_ylabel() for one in axes] == [
        "word game\nreward std", "", "imdb\nreward std"
    ]  # fmt: skip
    assert axes[0].get_xlim() == axes[1].get_xlim() != axes[2].get_xlim()
    assert axes[2].get_xlim()[1] > 9
    legend = drawn[0].legends[0]
    assert legend.get_title().get_text().replace("\n", " ") == (
        "n = 5 / 5 / 5 / 2 inputs, K = 10 samples of each (std with ddof 1), "
        "up to 2 seeds in a panel"
    )
    assert legend.get_texts()[-1].get_text() == "largest std of rewards from 0 to 1 / 0 to 10"


def test_no_rewards_deviate_more_than_the_line_says(tmp_path, drawn):
    passes = np.arange(11)
    means, stds = passes / 10, np.sqrt(passes * (10 - passes) / 90)
    draw(sampled_run(tmp_path / "a", reward_stats(means.tolist(), stds.tolist())), output=tmp_path)
    x, y = drawn[0].axes[0].lines[-1].get_data()
    np.testing.assert_allclose(np.interp(means[1:-1], x, y), stds[1:-1], rtol=1e-3)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_panels_share_their_axes_and_histograms_follow_them(tmp_path, drawn, count):
    draw_from = np.random.default_rng(0)
    runs = [
        sampled_run(
            tmp_path / f"run{i}",
            reward_stats(draw_from.random(50).tolist(), (draw_from.random(50) / 2).tolist()),
            experiment_name=f"run{i}",
        )
        for i in range(count)
    ]
    draw(*runs, output=tmp_path)
    figure = drawn[0]
    figure.draw_without_rendering()
    assert len(figure.axes) == count
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in figure.axes}) == 1
    page, legend = figure.bbox, figure.legends[0].get_window_extent()
    assert page.x0 <= legend.x0 and legend.x1 <= page.x1
    for axes in figure.axes:
        above, beside = axes.child_axes
        assert above.get_xlim() == axes.get_xlim() and beside.get_ylim() == axes.get_ylim()
        panel, over, right = (one.get_window_extent() for one in (axes, above, beside))
        assert (over.x0, over.x1) == pytest.approx((panel.x0, panel.x1))
        assert (right.y0, right.y1) == pytest.approx((panel.y0, panel.y1))
        assert not axes.get_tightbbox().overlaps(legend)


def test_every_input_is_a_dot_and_equal_ones_are_one_larger_dot(run, drawn, tmp_path):
    draw(run, output=tmp_path)
    others, low = sorted(drawn[0].axes[0].collections, key=lambda dots: len(dots.get_sizes()))
    places = {tuple(point): size for point, size in zip(low.get_offsets().round(2).tolist(),
                                                        low.get_sizes(), strict=True)}  # fmt: skip
    assert set(places) == {(0.0, 0.0), (0.25, 0.0), (1.0, 0.0)}
    assert places[0.0, 0.0] > places[1.0, 0.0] == places[0.25, 0.0]
    assert others.get_offsets().round(2).tolist() == [[0.5, 0.3]]
    assert low.get_rasterized() and others.get_rasterized()


def test_the_histograms_count_all_inputs(run, drawn, tmp_path):
    draw(run, output=tmp_path)
    above, beside = drawn[0].axes[0].child_axes
    tops = {}
    for bar in above.patches:
        tops[bar.get_x()] = max(tops.get(bar.get_x(), 0), bar.get_y() + bar.get_height())
    assert sum(tops.values()) == pytest.approx(1.0)
    assert [text.get_text() for text in above.get_yticklabels()] == ["40%"]
    assert [text.get_text() for text in beside.get_xticklabels()] == ["80%→"]


@pytest.mark.parametrize("std", [0.0, 0.2])
def test_equal_inputs_can_be_drawn(tmp_path, drawn, std):
    run = sampled_run(tmp_path / "a", reward_stats([0.5] * 3, [std] * 3).assign(max=0.5, min=0.5))
    draw(run, output=tmp_path)
    drawn[0].draw_without_rendering()


def test_equal_tables_of_many_inputs_make_equal_bytes(tmp_path):
    random = np.random.default_rng(0)
    table = reward_stats(random.random(5000).tolist(), (random.random(5000) / 2).tolist())
    run = sampled_run(tmp_path / "run", table)
    first = plots.draw(FIGURE, [run], tmp_path / "first")
    second = plots.draw(FIGURE, [run], tmp_path / "second")
    assert [path.name for path in first] == [f"{FIGURE}.{kind}" for kind in ("png", "pdf", "csv")]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    assert len(pd.read_csv(first[2])) == 5000


def test_options_are_checked(tmp_path):
    assert plots.check_options(FIGURE, {"metric": "meteor", "low_std": 0.1}) == []
    assert "greater than 0" in plots.check_options(FIGURE, {"low_std": 0.0})[0]
    assert "expected a number" in plots.check_options(FIGURE, {"low_std": "0.1"})[0]


def test_options_are_read_from_the_command_line(run, drawn, tmp_path, capsys):
    from plots.__main__ import main

    arguments = [FIGURE, "--runs", run, "--output", tmp_path, "--metric", "meteor"]
    assert main([str(argument) for argument in [*arguments, "--low_std", "0.5"]]) == 0
    assert "reward_mean_std-metric-meteor-low_std-0-5.csv" in capsys.readouterr().out
    assert main([str(argument) for argument in [*arguments, "--low_std", "x"]]) == 2
    assert "invalid float value: 'x'" in capsys.readouterr().err


def test_settings_of_old_runs_have_defaults(tmp_path, drawn):
    run = sampled_run(tmp_path / "a", reward_stats(MEANS, STDS))
    (run / "config.json").write_text(json.dumps({"experiment_name": "a"}))
    assert draw(run, output=tmp_path)["low_std"].sum() == 4
