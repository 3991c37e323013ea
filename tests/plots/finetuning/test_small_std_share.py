from __future__ import annotations

import math

import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.finetuning.folders import rft, samples, sft
from tests.plots.folders import make_index, text_run

FIGURE = "small_std_share"

pytestmark = pytest.mark.usefixtures("drawn")


def dataset(folder, start, share: float, ratios: list[float]):
    """RFT and SFT on a data set of which a share of the inputs is silent."""
    keys = {"datapool": {"id": "word_game", "args": {"num_samples": int(100 * share)}}}
    silent = int(10 * share)
    stds = [0.0] * silent + [0.3] * (10 - silent)
    runs = [samples(folder / f"before{share}", start, [0.2] * 10, stds, **keys)]
    for seed, ratio in enumerate(ratios):
        for make, mean in ((rft, 0.4 * ratio), (sft, 0.4)):
            name = f"{make.__name__}{share}_{seed}"
            made = make(folder / name, start, random_seed=seed)
            runs += [made, samples(folder / f"of_{name}", made, [mean] * 10, stds, **keys)]
    return runs


@pytest.fixture
def plan(tmp_path):
    start = text_run(tmp_path / "pretrain", experiment_name="pretrain")
    shares = ((0.5, [0.6, 0.8]), (0.1, [1.0, 1.2]), (0.8, [0.2]))
    runs = [run for share, ratios in shares for run in dataset(tmp_path, start, share, ratios)]
    return make_index(tmp_path, [start, *runs])


def draw(*folders, **options) -> pd.DataFrame:
    return pd.read_csv(plots.draw(FIGURE, list(folders), **options)[-1])


def test_a_point_is_the_ratio_of_rewards_over_the_share(plan, drawn):
    table = draw(plan)
    assert table.columns.tolist() == [
        "dataset", "start", "metric", "inputs", "samples", "small_std_share", "before", "rft",
        "sft", "ratio", "ratio_std", "seeds",
    ]  # fmt: skip
    assert table["small_std_share"].tolist() == pytest.approx([0.1, 0.5, 0.8])
    assert table["ratio"].tolist() == pytest.approx([1.1, 0.7, 0.2])
    assert table["ratio_std"].tolist() == pytest.approx([0.1 * math.sqrt(2)] * 2 + [math.nan],
                                                        nan_ok=True)  # fmt: skip
    assert table["rft"].tolist() == pytest.approx([0.44, 0.28, 0.08])
    (axes,) = drawn[0].axes
    assert axes.get_title().startswith("Pearson \u22120.99, Spearman \u22121.00")
    assert drawn[0].legends[0].get_title().get_text().startswith(
        "n = 10 inputs, K = 10 samples of each\nbars: \u00b1 1 standard deviation over 1 to 2 seeds"
    )  # fmt: skip
    names = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert "word game, num samples 50" in names


def test_the_threshold_can_be_chosen(plan):
    assert draw(plan, low_std=0.5)["small_std_share"].tolist() == [1, 1, 1]
    assert "greater than 0" in plots.check_options(FIGURE, {"low_std": 0.0})[0]


def test_seeds_without_their_sft_are_compared_with_its_mean(plan):
    made = rft(plan / "third", plan / "pretrain", random_seed=9)
    keys = {"datapool": {"id": "word_game", "args": {"num_samples": 80}}}
    third = samples(plan / "of_third", made, [0.4] * 10, [0.3] * 10, **keys)
    assert draw(plan, third)["ratio"].tolist() == pytest.approx([1.1, 0.7, 0.6])


def test_data_without_both_ways_are_left_out(plan, tmp_path):
    with pytest.raises(UserError, match="after RFT and after SFT of one model"):
        draw(plan / "before0.8", plan / "of_sft0.8_0", output=tmp_path)
