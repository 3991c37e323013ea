from __future__ import annotations

import pandas as pd
import pytest

import plots
from common.errors import UserError
from tests.plots.finetuning.folders import evaluations, rft, sft
from tests.plots.folders import make_index, text_run

FIGURE = "reward_vs_sft"

pytestmark = pytest.mark.usefixtures("drawn")


@pytest.fixture
def plan(tmp_path):
    """RFT alone and after 2 or 4 steps of SFT on a tenth or all of the inputs, two seeds."""
    start = text_run(tmp_path / "pretrain", evaluations(*[0.0] * 9), alg={"id": "supervised"})
    runs = [start]
    for seed in (0, 1):
        alone = rft(tmp_path / f"alone{seed}", start, evaluations(0.1, 0.2), random_seed=seed)
        runs.append(alone)
        for fraction, steps in ((0.1, 2), (None, 2), (None, 4)):
            name = f"{fraction}_{steps}_{seed}"
            keys = {"random_seed": seed, "datapool": {"frac_train_samples": fraction}}
            warm = sft(tmp_path / f"sft{name}", start, evaluations(*[0.3] * (steps + 1)), **keys)
            rows = evaluations(0.3, steps / 10 + (fraction or 1) / 10)
            runs += [warm, rft(tmp_path / f"rft{name}", warm, rows, random_seed=seed)]
    runs.append(rft(tmp_path / "other", start, evaluations(0.1, 0.9), args={"ent_coef": 1.0}))
    return make_index(tmp_path, runs)


def draw(*folders, **options) -> pd.DataFrame:
    return pd.read_csv(plots.draw(FIGURE, list(folders), **options)[-1])


def test_lines_are_labelled_fractions_over_steps_of_sft(plan, drawn):
    table = draw(plan)
    assert table["panel"].unique().tolist() == ["steps of SFT before RFT"]
    lines = {
        name: rows[["x", "mean", "before", "n"]].to_numpy().tolist()
        for name, rows in table.groupby("line")
    }
    alone = [0, pytest.approx(0.2), pytest.approx(0.1), 2]
    assert lines == {
        "SFT on 10 % of the inputs": [alone, [2, pytest.approx(0.21), pytest.approx(0.3), 2]],
        "SFT on 100 % of the inputs": [
            alone, [2, pytest.approx(0.3), pytest.approx(0.3), 2],
            [4, pytest.approx(0.5), pytest.approx(0.3), 2],
        ],
    }  # fmt: skip
    ticks = [tick.get_text() for tick in drawn[0].axes[0].get_xticklabels()]
    assert ticks == ["0", "2", "4"]


def test_runs_without_sft_before_them_are_refused(plan, tmp_path):
    with pytest.raises(UserError, match="began with the model of a supervised run"):
        draw(plan / "alone0", plan / "other", output=tmp_path)
