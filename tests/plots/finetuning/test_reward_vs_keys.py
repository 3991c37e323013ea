from __future__ import annotations

import math

import pandas as pd
import pytest

import plots
from common.errors import UserError
from common.run.folder import RunFolder
from common.run.summary import write_summary
from tests.plots.finetuning.folders import evaluations, rft, sft
from tests.plots.folders import make_index, text_run

FIGURE = "reward_vs_keys"

pytestmark = pytest.mark.usefixtures("drawn")


@pytest.fixture
def plan(tmp_path):
    """A usual run of two seeds, and others that differ from it in one key."""
    start = text_run(tmp_path / "pretrain", evaluations(0.0, 0.1), alg={"id": "supervised"})
    runs = [start]
    for name, args in (("usual", {}), ("lr", {"learning_rate": 0.01}), ("ent", {"ent_coef": 0.1})):
        for seed in (0, 1):
            reward = {"usual": 0.4, "lr": 0.3, "ent": 0.2}[name] + seed / 10
            rows = evaluations(0.1, 0.9, reward)
            runs.append(rft(tmp_path / f"{name}{seed}", start, rows, args=args, random_seed=seed))
            write_summary(RunFolder(runs[-1]), reward, "val/meteor", num_inputs={"val": 250})
    runs.append(sft(tmp_path / "sft", start, evaluations(0.1, 0.6)))
    return make_index(tmp_path, runs)


def draw(*folders, **options) -> pd.DataFrame:
    return pd.read_csv(plots.draw(FIGURE, list(folders), **options)[-1])


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]


def test_a_panel_has_the_runs_that_differ_in_its_key_alone(plan, drawn):
    table = draw(plan)
    assert table.columns.tolist() == ["panel", "line", "x", "mean", "std", "n", "before"]
    found = table[["panel", "line", "x", "n"]].to_numpy().tolist()
    assert found == [
        ["learning rate", "RFT", 0.001, 2], ["learning rate", "RFT", 0.01, 2],
        ["entropy coefficient", "RFT", 0.0, 2], ["entropy coefficient", "RFT", 0.1, 2],
    ]  # fmt: skip
    assert table["mean"].tolist() == pytest.approx([0.45, 0.35, 0.45, 0.25])
    assert table["std"].tolist() == pytest.approx([0.1 / math.sqrt(2)] * 4)
    assert table["before"].tolist() == pytest.approx([0.1] * 4)
    assert [axes.get_xlabel() for axes in drawn[0].axes] == ["learning rate", "entropy coefficient"]
    ticks = [[tick.get_text() for tick in axes.get_xticklabels()] for axes in drawn[0].axes]
    assert ticks == [["0.001", "0.01"], ["0", "0.1"]]
    assert legend(drawn[0]) == ["RFT", "before RFT", "SFT"]
    assert drawn[0].legends[0].get_title().get_text() == (
        "last evaluation: n = 250 inputs, K = 1 sample of each, 1 to 2 seeds\n"
        "bars and band: \u00b1 1 standard deviation over them"
    )
    assert drawn[0].axes[0].get_ylabel() == "val/meteor"


def test_the_baseline_is_sft_of_the_same_model_and_data_with_the_most_steps(plan, drawn):
    start = plan / "pretrain"
    sft(plan / "other_data", start, evaluations(*[0.9] * 9), datapool={"id": "imdb"})
    sft(plan / "other_model", plan / "lr0", evaluations(*[0.9] * 9))
    sft(plan / "more", start, evaluations(0.1, 0.5, 0.7), random_seed=1)
    names = ("other_data", "other_model", "more")
    draw(plan, *(plan / name for name in names))
    heights = {line.get_ydata()[0] for line in drawn[0].axes[0].lines if len(line.get_xdata()) == 2}
    assert 0.7 in heights and 0.6 not in heights and 0.9 not in heights


def test_runs_that_differ_in_other_keys_have_lines_of_their_own(plan, drawn):
    more = [
        rft(plan / f"imdb{rate}", plan / "pretrain", evaluations(0.1, 0.8),
            args={"learning_rate": rate}, datapool={"id": "imdb"})
        for rate in (0.001, 0.1)
    ]  # fmt: skip
    table = draw(plan, *more)
    of_rate = table[table["panel"] == "learning rate"]
    assert of_rate.groupby("line")["x"].apply(list).to_dict() == {
        "commongen": [0.001, 0.01], "imdb": [0.001, 0.1]
    }  # fmt: skip
    ticks = [tick.get_text() for tick in drawn[0].axes[0].get_xticklabels()]
    assert ticks == ["0.001", "0.01", "0.1"]


def test_keys_and_metric_can_be_chosen_and_must_fit(plan):
    assert draw(plan, keys=["alg.args.ent_coef"])["panel"].unique().tolist() == [
        "entropy coefficient"
    ]
    with pytest.raises(UserError, match=r"no runs differ in one of alg\.kl_div\.coeff"):
        draw(plan, keys=["alg.kl_div.coeff"])
    with pytest.raises(UserError, match="'metric' = 'val/bleu': no run measured it; there are va"):
        draw(plan, metric="val/bleu")
    assert "each once" in plots.check_options(FIGURE, {"keys": []})[0]
