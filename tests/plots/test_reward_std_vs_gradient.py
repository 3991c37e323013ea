from __future__ import annotations

import pandas as pd
import pytest

import plots
from tests.plots.folders import inputs, make_index, make_run, two_methods

pytestmark = pytest.mark.usefixtures("drawn")


def draw(path, **options) -> pd.DataFrame:
    paths = plots.draw("reward_std_vs_gradient", [path], **options)
    return pd.read_csv(paths[-1], keep_default_na=False)


def panels(figure) -> dict[str, list[list[float]]]:
    """The points of each panel by its title, those of other inputs first."""
    return {
        axes.get_title().replace("\n", " "): [
            point for dots in axes.collections for point in dots.get_offsets().tolist()
        ]
        for axes in figure.axes
    }


def test_the_csv_holds_every_point_and_a_shared_start_once(tmp_path, drawn):
    table = draw(two_methods(tmp_path / "plan", seeds=(7, 8)))
    assert table.columns.tolist() == [
        "variant", "method", "run", "epochs_trained", "input", "reward_std", "logit_grad_norm",
        "part",
    ]  # fmt: skip
    start, end = table[table["method"] == ""], table[table["method"] != ""]
    assert start["run"].tolist() == ["supervised-7"] * 2
    assert start["epochs_trained"].tolist() == [0, 0]
    assert start["reward_std"].tolist() == [0.5, 0.5]
    assert start["part"].tolist() == ["small reward std", "large reward std"]
    assert end["run"].unique().tolist() == [
        "supervised-7", "supervised-8", "expected_reinforce-7", "expected_reinforce-8"
    ]  # fmt: skip
    assert end["reward_std"].tolist() == [0.25, 0.125] * 4
    assert end["logit_grad_norm"].tolist() == [0.125, 0.0625] * 4
    assert panels(drawn[0]) == {
        "before training": [[0.5, 0.25]] * 2,
        "SFT (2 runs), after 3 epochs": [[0.125, 0.0625]] * 2 + [[0.25, 0.125]] * 2,
        "RFT expected (2 runs), after 3 epochs": [[0.125, 0.0625]] * 2 + [[0.25, 0.125]] * 2,
    }


def test_different_starts_are_all_drawn(tmp_path):
    runs = [
        make_run(tmp_path / "a", per_input=inputs(3, [0.25, 0.5], start=0.5)),
        make_run(tmp_path / "b", per_input=inputs(4, [0.25, 0.5], start=0.4), random_seed=1),
        make_run(tmp_path / "c", per_input=inputs(4, [0.25, 0.5], start=0.4000001), random_seed=2),
        make_run(tmp_path / "d", per_input=inputs(4, [0.25, 0.5, 0.5]), random_seed=3),
    ]
    table = draw(make_index(tmp_path, runs))
    starts = table[table["method"] == ""]
    assert starts.groupby("run").size().to_dict() == {"a": 2, "b": 2, "d": 3}


def test_titles_tell_the_range_of_epochs(tmp_path, drawn):
    runs = [
        make_run(tmp_path / "a", per_input=inputs(3, [0.25, 0.5])),
        make_run(tmp_path / "b", per_input=inputs(5, [0.25, 0.5]), random_seed=1),
        make_run(tmp_path / "c", per_input=inputs(5, [0.25, 0.5]), random_seed=1, lr=1.0,
                 opt_method="reinforce"),
    ]  # fmt: skip
    draw(make_index(tmp_path, runs))
    assert [axes.get_title().replace("\n", " ") for axes in drawn[0].axes] == [
        "before training", "SFT (2 runs), after 3 to 5 epochs", "not measured",
        "before training", "not measured", "RFT sampled, after 5 epochs",
    ]  # fmt: skip
    assert [axes.get_title(loc="left").strip() for axes in drawn[0].axes[::3]] == [
        "lr 1e-4", "lr 1"
    ]  # fmt: skip


def test_zeros_stand_at_the_lower_end_and_are_counted(tmp_path, drawn):
    run = make_run(tmp_path / "a", per_input=inputs(3, [0.0, 0.25, 1e-14, 3e-3]))
    table = draw(run, output=tmp_path)
    assert table["reward_std"].tolist() == [0.5] * 4 + [0.0, 0.25, 1e-14, 3e-3]
    before, after = drawn[0].axes
    assert list(before.texts) == []
    assert after.texts[0].get_text().startswith("2 of 4 inputs below 1e-3")
    assert after.get_xlim() == after.get_ylim() == pytest.approx((1e-3 / 1.5, 0.8))
    points = panels(drawn[0])["SFT, after 3 epochs"]
    assert points.count([pytest.approx(1e-3)] * 2) == 2
    assert [0.25, 0.125] in points


def test_linear_axes_show_zeros_in_place(tmp_path, drawn):
    run = make_run(tmp_path / "a", per_input=inputs(3, [0.0, 0.25]))
    draw(run, output=tmp_path, log_axes=False)
    after = drawn[0].axes[1]
    assert after.get_xscale() == after.get_yscale() == "linear"
    assert list(after.texts) == []
    assert [0.0, 0.0] in panels(drawn[0])["SFT, after 3 epochs"]


def test_the_bound_is_drawn_and_named(tmp_path, drawn):
    draw(two_methods(tmp_path / "plan"))
    for axes in drawn[0].axes:
        (bound,) = axes.lines
        (low, high), y = bound.get_data()
        assert (low, high) == tuple(y)
        assert low <= 0.0625 and high >= 0.5
    texts = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert texts == ["bound: norm ≤ std", "other inputs", "changed inputs"]


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, 1.0]])
def test_values_that_are_all_equal_can_be_drawn(tmp_path, drawn, values):
    table = inputs(3, values, start=values[0])
    assert len(draw(make_run(tmp_path / "a", per_input=table), output=tmp_path)) == 4
    drawn[0].draw_without_rendering()


def test_a_run_that_was_not_measured_at_its_end_shows_its_start(tmp_path, drawn):
    table = inputs(3, [0.25, 0.5])
    draw(make_run(tmp_path / "a", per_input=table[table["epochs_trained"] == 0]), output=tmp_path)
    assert [axes.get_title() for axes in drawn[0].axes] == ["before training", "not measured"]


def test_measurements_in_between_are_not_drawn(tmp_path):
    table = pd.concat([inputs(2, [0.1, 0.2]), inputs(4, [0.25, 0.5]).query("epochs_trained > 0")])
    drawn = draw(make_run(tmp_path / "a", per_input=table), output=tmp_path)
    assert drawn["epochs_trained"].tolist() == [0, 0, 4, 4]
