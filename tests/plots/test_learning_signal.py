"""Figures of silent groups against the final reward, and of improvement against p (1 - p)."""

from __future__ import annotations

import pandas as pd
import pytest

import plots
from common.errors import UserError
from common.run.folder import RunFolder
from common.run.summary import write_summary
from tests.plots.folders import make_index, text_run

pytestmark = pytest.mark.usefixtures("drawn")

METRIC = "val/answer/accuracy"


def run(folder, silent, right, pass_at_2, **config):
    """A run with a share of silent groups per iteration, and evaluations every second one."""
    rows = [{"epoch": i, "step": i, "groups/constant": share, "elapsed/samples": 64 * i}
            for i, share in enumerate(silent, 1)]  # fmt: skip
    rows += [
        {"epoch": 2 * i, "step": 2 * i, METRIC: p, f"{METRIC}/pass_at_k/2": q}
        for i, (p, q) in enumerate(zip(right, pass_at_2, strict=True))
    ]
    found = text_run(
        folder, rows, alg={"id": "grpo", "args": {"num_samples_per_input": 8}},
        train_evaluation={"num_samples_per_input": 4}, **config,
    )  # fmt: skip
    write_summary(RunFolder(found), right[-1], METRIC, num_inputs={"val": 100})
    return found


def caption(figure):
    return figure.legends[0].get_title().get_text().replace("\n", " ")


def test_silent_groups_are_averaged_over_training_and_rewards_are_the_last(tmp_path, drawn):
    first = run(tmp_path / "a", [0.2, 0.6], [0.1, 0.5], [0.2, 0.6], experiment_name="a")
    second = run(tmp_path / "b", [0.9, 0.9], [0.1, 0.2], [0.2, 0.3], experiment_name="b")
    runs = [first, second]
    (path,) = plots.draw("silent_share", [make_index(tmp_path, runs)])
    table = pd.read_csv(path)
    assert table["silent_share"].tolist() == pytest.approx([0.4, 0.9])
    assert table["final"].tolist() == [0.5, 0.2]
    assert set(table["metric"]) == {METRIC}
    assert caption(drawn[0]) == (
        "a dot: a run; training: 2 iterations, n = 64 outputs in each, K = 8 of an input; "
        "at the end: n = 100 inputs, K = 4 samples of each"
    )
    drawn[0].draw_without_rendering()
    page, below = drawn[0].bbox, drawn[0].legends[0].get_window_extent()
    assert page.x0 <= below.x0 and below.x1 <= page.x1 and page.y0 <= below.y0
    with pytest.raises(UserError, match="has not measured val/beauty"):
        plots.draw("silent_share", [tmp_path / "a"], metric="val/beauty")


def test_the_variance_of_right_outputs_is_the_gain_of_a_second_output(tmp_path, drawn):
    # two inputs with p = 0.5 and 0: E[p (1 - p)] = 0.125; then both with p = 1: 0
    only = run(tmp_path / "a", [0.5] * 4, [0.25, 1.0, 1.0], [0.375, 1.0, 1.0])
    (path,) = plots.draw("improvement", [only], tmp_path)
    table = pd.read_csv(path)
    assert table["variance"].tolist() == pytest.approx([0.125, 0.0])
    assert table["improvement"].tolist() == pytest.approx([0.75 / 2, 0.0])
    assert table["step"].tolist() == [0, 2]
    (axes,) = drawn[0].axes
    line = axes.get_lines()[1]
    assert line.get_ydata()[-1] == pytest.approx(3.0 * 0.125)  # of least squares through 0
    assert caption(drawn[0]) == (
        "a dot: two evaluations of a run in turn; n = 100 inputs, K = 4 samples of each"
    )


def test_groups_of_inputs_stand_for_the_whole(tmp_path):
    rows = [
        {"epoch": i, "step": i, METRIC: 0.5, f"{METRIC}/pass_at_k/2": 0.6}
        | {f"{METRIC}_at_difficulty_{level}": p, f"{METRIC}/pass_at_k/2_at_difficulty_{level}": q}
        for i in range(2) for level, p, q in ((1, 0.5, 0.75), (2, 0.0, 0.0))
    ]  # fmt: skip
    (path,) = plots.draw(
        "improvement", [text_run(tmp_path / "a", rows, alg={"id": "grpo"})], tmp_path
    )
    table = pd.read_csv(path)
    assert table["level"].tolist() == ["difficulty_1", "difficulty_2"]
    assert table["variance"].tolist() == pytest.approx([0.25, 0.0])
    with pytest.raises(UserError, match="num_samples_per_input"):
        plots.draw("improvement", [tmp_path / "a"], split="test")
