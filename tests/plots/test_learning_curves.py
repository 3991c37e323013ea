from __future__ import annotations

import math

import pandas as pd
import pytest

import plots
from common.errors import UserError
from common.run.folder import RunFolder
from common.run.summary import write_summary
from plots.__main__ import main
from tests.plots.folders import make_index, make_run, sampled_run, text_run

FIGURE = "learning_curves"
MODEL = "outputs/plan/{}/model"

pytestmark = pytest.mark.usefixtures("drawn")


def row(step: int, **values: float) -> dict[str, float]:
    """A line of metrics.jsonl; ``meteor`` stands for the metric of the validation split."""
    names = {"meteor": "val/lexical/meteor"}
    return {"epoch": step / 10, "step": step, **{names.get(k, k): v for k, v in values.items()}}


def rows(height: float) -> list[dict[str, float]]:
    """Evaluations at the ends, log lines between."""
    return [
        row(0, meteor=0.0),
        row(5, loss=2.0 * height, grad_norm=1.0),
        row(10, loss=height, grad_norm=1.0),
        row(10, meteor=height, **{"test/lexical/meteor": 0.5}),
    ]


def draw(*paths, **options) -> pd.DataFrame:
    return pd.read_csv(plots.draw(FIGURE, list(paths), **options)[-1])


def sft(folder, height: float = 1.0, **keys):
    alg = {"id": "supervised", "training_args": {"learning_rate": keys.pop("lr", 1e-4)}}
    return text_run(folder, rows(height), alg=alg | keys.pop("alg", {}), **keys)


def line(table, metric, **key) -> pd.DataFrame:
    table = table[table["metric"] == metric]
    for column, value in key.items():
        table = table[table[column] == value]
    return table[["step", "epoch", "mean", "std", "n"]].reset_index(drop=True)


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts() if text.get_text()]


def test_lines_are_means_over_seeds_at_the_steps_that_were_measured(tmp_path, drawn):
    runs = [
        sft(tmp_path / "a", 1.0, random_seed=1),
        sft(tmp_path / "b", 2.0, random_seed=2, datapool={"train_samples_rnd_seed": 5}),
    ]
    table = draw(make_index(tmp_path, runs))
    assert table.columns.tolist() == ["line", "metric", "step", "epoch", "mean", "std", "n"]
    assert table["metric"].unique().tolist() == ["loss", "val/lexical/meteor"]
    loss, meteor = line(table, "loss"), line(table, "val/lexical/meteor")
    assert loss["step"].tolist() == [5, 10] and loss["epoch"].tolist() == [0.5, 1.0]
    assert loss["mean"].tolist() == [3.0, 1.5]
    assert loss["std"].tolist() == pytest.approx([math.sqrt(2), math.sqrt(0.5)])
    assert meteor["step"].tolist() == [0, 10] and meteor["mean"].tolist() == [0.0, 1.5]
    assert meteor["n"].tolist() == [2, 2]
    losses, meteors = drawn[0].axes
    assert losses.get_title() == "training loss"
    assert losses.lines[0].get_xydata().tolist() == [[0.5, 3.0], [1.0, 1.5]]
    assert meteors.lines[0].get_xydata().tolist() == [[0.0, 0.0], [1.0, 1.5]]
    heights = losses.collections[0].get_paths()[0].vertices[:, 1]
    assert heights.max() == pytest.approx(3 + math.sqrt(2))
    assert drawn[0].get_suptitle() == "commongen"


def test_the_caption_says_inputs_and_samples_of_the_evaluations_drawn(tmp_path, drawn):
    known = sft(tmp_path / "a", train_evaluation={"num_samples_per_input": 4})
    write_summary(RunFolder(known), 0.5, "val/lexical/meteor", num_inputs={"val": 250, "test": 9})
    plan = make_index(tmp_path, [known, sft(tmp_path / "b", lr=1e-3, experiment_name="other")])
    captions = []
    for runs, keys in (([known], {}), ([plan], {}), ([known], {"metrics": ["loss"]})):
        draw(*runs, output=tmp_path, **keys)
        captions.append(drawn[0].legends[0].get_title().get_text())
    numbers = "n = 250 inputs, K = 4 samples of each"
    assert captions == [f"evaluations: {numbers}", f"evaluations of exp: {numbers}", ""]


@pytest.mark.parametrize("x", ["epoch", "step"])
def test_the_axis_says_iteration_where_iterations_are_counted(tmp_path, drawn, x):
    loop = {"alg": {"id": "ppo"}, "train_evaluation": {"n_iters": 10, "metrics": []}}
    rft = text_run(tmp_path / "rft", rows(1.0), **loop)
    draw(rft, output=tmp_path, x=x)
    draw(rft, sft(tmp_path / "sft"), output=tmp_path, x=x)
    draw(sft(tmp_path / "n_iters", train_evaluation=loop["train_evaluation"]), output=tmp_path, x=x)
    labels = [figure.axes[-1].get_xlabel() for figure in reversed(drawn)]
    assert labels == ["iteration", {"epoch": "epoch or iteration"}.get(x, x), x]


def test_each_panel_says_what_its_own_runs_count(tmp_path, drawn):
    loop = {"alg": {"id": "ppo"}, "train_evaluation": {"n_iters": 10, "metrics": []}}
    rft = text_run(tmp_path / "rft", [row(10, meteor=0.5, **{"ppo/value_loss": 1.0})], **loop)
    names = ["loss", "val/lexical/meteor", "ppo/value_loss"]
    draw(rft, sft(tmp_path / "sft"), output=tmp_path, metrics=names)
    panels = drawn[0].axes
    assert [axes.get_xlabel() for axes in panels] == ["epoch", "epoch or iteration", "iteration"]
    assert not panels[0].get_shared_x_axes().joined(panels[0], panels[2]), "or epochs are squeezed"
    draw(sft(tmp_path / "alone"), output=tmp_path, metrics=names[:2])
    panels = drawn[0].axes
    assert panels[0].get_shared_x_axes().joined(*panels)


def test_the_losses_of_a2c_are_found_by_their_former_names(tmp_path, drawn):
    folders = [
        text_run(tmp_path / prefix, [row(1, **{f"{prefix}/value_loss": 2.0})], alg={"id": "a2c"})
        for prefix in ("ppo", "a2c")
    ]
    for folder in folders:
        for name in ("ppo/value_loss", "a2c/value_loss"):
            table = draw(folder, output=tmp_path, metrics=[name])
            assert line(table, name)["mean"].tolist() == [2.0]
            assert drawn.pop().axes[0].get_title() == "a2c/value_loss"
    ppo = text_run(tmp_path / "c", [row(1, **{"ppo/value_loss": 2.0})], alg={"id": "ppo"})
    with pytest.raises(UserError, match="no run measured it; there are ppo/value_loss"):
        draw(ppo, output=tmp_path, metrics=["a2c/value_loss"])


def test_the_last_number_of_a_step_counts_and_others_are_left_out(tmp_path):
    lines = [row(5, loss=9.0), row(5, loss=2.0), row(6, loss=math.inf), {"epoch": 1, "loss": 7.0}]
    table = draw(text_run(tmp_path / "a", lines), output=tmp_path)
    assert line(table, "loss")[["step", "mean"]].to_numpy().tolist() == [[5, 2.0]]


def test_the_legend_says_what_differs(tmp_path, drawn):
    runs = [
        sft(tmp_path / "a", random_seed=1, experiment_name="exp_1"),
        sft(tmp_path / "b", random_seed=2, experiment_name="exp_2"),
        sft(tmp_path / "c", random_seed=1, experiment_name="exp_3", lr=1e-3),
        text_run(tmp_path / "d", rows(1.0), alg={"id": "ppo"}),
        text_run(tmp_path / "e", rows(1.0), alg={"id": "ppo"}, random_seed=9),
    ]
    table = draw(make_index(tmp_path, runs))
    labels = ["SFT, learning rate 1e-4", "exp_3", "exp"]
    assert table["line"].unique().tolist() == labels
    assert legend(drawn[0]) == [
        f"{labels[0]} (2 runs)", "exp_3 (1 run)", "exp (2 runs)", "± 1 standard deviation"
    ]  # fmt: skip


def test_a_model_made_once_per_seed_sets_no_runs_apart(tmp_path, drawn):
    runs = [
        sft(tmp_path / str(seed), random_seed=seed,
            alg={"model_name": MODEL.format(f"{name}-{seed}abcdef0{rep}")})
        for seed, name, rep in ((1, "small", ""), (2, "small", "-rep1"), (3, "large", ""))
    ]  # fmt: skip
    table = draw(make_index(tmp_path, runs))
    assert table["line"].unique().tolist() == ["SFT, small", "SFT, large"]
    assert line(table, "loss", line="SFT, small")["n"].tolist() == [2, 2]


def test_single_runs_are_called_by_their_names(tmp_path, drawn):
    runs = [sft(tmp_path / "a", experiment_name="one"), sft(tmp_path / "b", lr=1.0)]
    draw(make_index(tmp_path, runs))
    assert legend(drawn[0]) == ["one", "exp"]


def test_runs_of_other_experiments_are_passed_over_in_silence(tmp_path, caplog):
    controlled = make_run(tmp_path / "digits", [{"epoch": 0, "train loss": 1.0}])
    plan = make_index(tmp_path, [controlled, sampled_run(tmp_path / "x"), sft(tmp_path / "a")])
    assert draw(plan)["line"].unique().tolist() == ["exp"]
    assert caplog.text == ""
    with pytest.raises(UserError, match="no run has metrics by step and epoch"):
        draw(controlled, output=tmp_path)


def test_metrics_and_the_axis_can_be_chosen(tmp_path, drawn, capsys):
    run = sft(tmp_path / "a")
    table = draw(run, output=tmp_path, metrics=["test/lexical/meteor", "loss"], x="step")
    assert table["metric"].unique().tolist() == ["test/lexical/meteor", "loss"]
    test_split, losses = drawn[0].axes
    assert test_split.get_title() == "test/lexical/meteor"
    assert losses.lines[0].get_xdata().tolist() == [5, 10]
    assert losses.get_xlabel() == "step"
    arguments = ["--metrics", "loss", "val/lexical/meteor", "--x", "step"]
    assert main([FIGURE, "--runs", str(run), "--output", str(tmp_path), *arguments]) == 0
    assert "learning_curves-metrics-loss-val" in capsys.readouterr().out
    assert main([FIGURE, "--runs", str(run), "--x", "time"]) == 2
    assert "'x' = 'time': unknown; known: epoch, step" in capsys.readouterr().err


def test_metrics_that_nobody_measured_are_refused(tmp_path):
    run = sft(tmp_path / "a")
    with pytest.raises(
        UserError, match="'metrics' = 'bleu': no run measured it; there are val/lex"
    ):
        draw(run, output=tmp_path, metrics=["bleu"])
    other = text_run(tmp_path / "b", [row(0, reward=1.0)])
    with pytest.raises(UserError, match=r"no run measured a loss .*with --metrics: reward"):
        draw(other, output=tmp_path)


def test_a_metric_of_some_runs_alone_is_drawn_for_them(tmp_path, drawn):
    runs = [
        text_run(tmp_path / "a", [row(1, loss=1.0)], experiment_name="a"),
        text_run(tmp_path / "b", [row(1, meteor=1.0)], experiment_name="b", alg={"id": "ppo"}),
    ]
    table = draw(make_index(tmp_path, runs))
    assert table[["line", "metric"]].to_numpy().tolist() == [
        ["a", "loss"], ["b", "val/lexical/meteor"]
    ]  # fmt: skip
    assert [[one.get_color() for one in axes.lines] for axes in drawn[0].axes] == [["C0"], ["C1"]]


@pytest.mark.parametrize("count", [1, 2, 4, 5])
@pytest.mark.parametrize("name", ["short", "a name that is very long and takes two lines of text"])
def test_the_legend_stays_on_the_page_and_covers_no_panel(tmp_path, drawn, count, name):
    metrics = {f"val/metric_{i}": float(i) for i in range(count)}
    runs = [
        text_run(tmp_path / f"{i}", [row(0, **metrics), row(5, **metrics)],
                 experiment_name=f"{name} {i}", datapool={"id": f"task{i}"})
        for i in range(9)
    ]  # fmt: skip
    draw(make_index(tmp_path, runs))
    figure = drawn[0]
    figure.draw_without_rendering()
    page, below = figure.bbox, figure.legends[0].get_window_extent()
    assert len(figure.axes) == count
    assert page.x0 <= below.x0 and below.x1 <= page.x1 and page.y0 <= below.y0
    for place, axes in enumerate(figure.axes):
        panel = axes.get_tightbbox()
        assert not below.overlaps(panel)
        assert page.x0 <= panel.x0 and panel.x1 <= page.x1
        assert axes.get_window_extent().height > 200
        columns = {1: 1, 2: 2, 4: 2, 5: 3}[count]
        assert bool(axes.get_xlabel()) == (place + columns >= count)


def test_nine_lines_look_different(tmp_path, drawn):
    runs = [sft(tmp_path / f"{i}", lr=10.0**-i, experiment_name=f"run {i}") for i in range(9)]
    draw(make_index(tmp_path, runs))
    looks = {(one.get_color(), one.get_linestyle()) for one in drawn[0].axes[0].lines}
    assert len(looks) == 9


def test_options_are_checked():
    assert plots.check_options(FIGURE, {"metrics": ["loss"], "x": "step"}) == []
    assert "each once" in plots.check_options(FIGURE, {"metrics": ["loss", "loss"]})[0]
    assert "at least one" in plots.check_options(FIGURE, {"metrics": []})[0]


def test_help_names_the_known_values(capsys):
    with pytest.raises(SystemExit):
        main([FIGURE, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "Known: epoch, step. (default: epoch)" in text
    assert "validation metrics. (default: not given)" in text
