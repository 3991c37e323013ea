from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.finetuning.folders import rft, samples, sft
from tests.plots.folders import make_index, text_run

FIGURE = "reward_change"
MEANS, STDS = np.linspace(0.0, 0.5, 12), np.linspace(0.0, 0.4, 12)
GAME, NUMBERS = {"id": "word_game"}, {"id": "number_lists"}

pytestmark = pytest.mark.usefixtures("drawn")


@pytest.fixture
def plan(tmp_path):
    """RFT with two seeds, which moves inputs by their std, and SFT, which moves silent ones."""
    start = text_run(tmp_path / "pretrain", experiment_name="pretrain")
    runs = [start, samples(tmp_path / "before", start, MEANS, STDS, datapool=GAME)]
    for seed, slope in ((0, 0.5), (1, 1.5)):
        made = rft(tmp_path / f"rft{seed}", start, random_seed=seed)
        after = samples(tmp_path / f"of_rft{seed}", made, MEANS + slope * STDS, STDS, datapool=GAME)
        runs += [made, after]
    made = sft(tmp_path / "sft", start)
    after = samples(tmp_path / "of_sft", made, MEANS + 0.4 - STDS, STDS, datapool=GAME)
    return make_index(tmp_path, [*runs, made, after])


def draw(*folders, **options) -> pd.DataFrame:
    return pd.read_csv(plots.draw(FIGURE, list(folders), **options)[-1])


def titles(figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def test_changes_are_means_over_seeds_of_the_same_inputs(plan):
    table = draw(plan)
    assert table.columns.tolist() == [
        "dataset", "metric", "finetuning", "input_id", "n", "seeds", "std_before", "mean_before",
        "mean_after", "change",
    ]  # fmt: skip
    by_method = dict(list(table.groupby("finetuning", sort=False)))
    assert list(by_method) == ["RFT", "SFT"]
    assert by_method["RFT"]["seeds"].unique().tolist() == [2]
    np.testing.assert_allclose(by_method["RFT"]["change"], STDS)
    np.testing.assert_allclose(by_method["SFT"]["change"], 0.4 - STDS)
    np.testing.assert_allclose(by_method["SFT"]["std_before"], STDS)


def test_panels_say_the_correlations_and_sizes(plan, drawn):
    draw(plan)
    assert titles(drawn[0]) == [
        "RFT\nPearson 1.00 [1.00, 1.00]\nSpearman 1.00 [1.00, 1.00]",
        "SFT\nPearson \u22121.00 [\u22121.00, \u22121.00]\nSpearman \u22121.00 "
        "[\u22121.00, \u22121.00]",
    ]
    legend = drawn[0].legends[0]
    assert legend.get_title().get_text() == (
        "n = 12 inputs, K = 10 samples of each, mean over 1 to 2 seeds; [95 % intervals]"
    )
    drawn[0].draw_without_rendering()
    page, below = drawn[0].bbox, legend.get_window_extent()
    assert page.x0 <= below.x0 and below.x1 <= page.x1
    assert not any(axes.get_tightbbox().overlaps(below) for axes in drawn[0].axes)


def test_sizes_of_changes_have_no_sign(plan):
    start = plan / "pretrain"
    made = rft(plan / "worse", start, random_seed=3)
    after = samples(plan / "of_worse", made, MEANS - STDS, STDS, datapool=GAME)
    folders = [plan / "before", after]
    assert draw(*folders, output=plan)["change"].max() == 0
    np.testing.assert_allclose(draw(*folders, output=plan, absolute=True)["change"], STDS)


def test_each_data_set_has_a_row_and_each_first_model_a_column(plan, drawn):
    again = rft(plan / "again", plan / "sft")
    numbers = {"datapool": NUMBERS, "metric": "increasing"}
    more = [
        samples(plan / "of_again", again, MEANS, STDS, datapool=GAME),
        samples(plan / "numbers", plan / "pretrain", MEANS, STDS, **numbers),
        samples(plan / "numbers_rft", plan / "rft0", MEANS, STDS, **numbers),
    ]
    table = draw(plan, *more)
    assert table.groupby("dataset")["metric"].unique().map(list).to_dict() == {
        "number lists": ["increasing"], "word game": ["meteor"]
    }  # fmt: skip
    assert table["finetuning"].unique().tolist() == [
        "RFT from pretrain", "RFT from SFT", "SFT from pretrain"
    ]  # fmt: skip
    assert len(drawn[0].axes) == 6
    assert titles(drawn[0])[-1] == "SFT from pretrain: not sampled"
    assert [axes.get_title(loc="left").strip() for axes in drawn[0].axes][::3] == [
        "word game", "number lists"
    ]  # fmt: skip


def test_moved_folders_still_know_their_models(plan, tmp_path):
    expected = draw(plan)
    moved = plan.rename(tmp_path.parent / f"{tmp_path.name}_moved")
    pd.testing.assert_frame_equal(draw(moved), expected)


def test_what_is_missing_is_said(plan, tmp_path):
    with pytest.raises(UserError, match="both before and after a finetuning run"):
        draw(plan / "before", output=tmp_path)
    assert "at least 1" in plots.check_options(FIGURE, {"bins": 0})[0]
