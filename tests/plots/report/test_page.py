"""The report of a plan, as text and numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from common.run.folder import PlanFolder
from plots.__main__ import main
from plots.report import comparisons
from plots.report.configurations import MOST, chosen, labels, palette
from plots.report.page import has_ended, write_report
from plots.report.runs import load
from plots.report.stage_graph import stages
from tests.conftest import TOY, Workplace
from tests.plots.report.many_runs import write_plan_folder
from tests.tools import imported

imported("vl_convert")


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def rows_of(columns: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table that stands in the page as columns."""
    values = {
        name: [own["texts"][place] for place in own["places"]] if isinstance(own, dict) else own
        for name, own in columns.items()
    }
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def test_a_page_has_everything_and_needs_nothing(plan: Path) -> None:
    page = write_report(plan).read_text()
    assert "Two step sizes &lt;b&gt;&amp; more&lt;/b&gt;" in page
    assert "ZeroDivisionError: as the plan says" in page  # the end of the traceback
    assert page.count('<span class="state done">done</span>') == 10
    assert "<td>0, 1, 2, 3, 4</td>" not in page and "<td>0.1, 0.3</td>" in page  # what varies
    assert "words &lt;i&gt;" in page and "before" in page
    assert page.count("<svg") >= 4  # reads without JavaScript
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    data = data_of(page)
    assert rows_of(data["charts"]["inputs"]["columns"])[0]["prompt"] == "prompt 0 </script>"
    lines = [row["line"] for row in rows_of(data["last"])]
    assert sorted(lines) == ["exp", *["fit, lr 0.1"] * 5, *["fit, lr 0.3"] * 5]
    size = len(page) - len(json.dumps(data))
    assert size < 1_500_000
    assert has_ended(plan)


def test_curves_are_means_over_seeds(plan: Path) -> None:
    data = data_of(write_report(plan).read_text())
    curves = [chart for name, chart in data["charts"].items() if name.startswith("curve")]
    (found,) = [one for one in curves if one["spec"]["title"]["text"] == "train loss"]
    rows = rows_of(found["columns"])
    points = [row for row in rows if row["line"].endswith("lr 0.1") and row["x"] == 2]
    runs = [run for run in load(PlanFolder(plan)) if run.options.get("lr") == "0.1"]
    losses = [run.metrics["train loss"][2] for run in runs]
    assert points[0]["n"] == 5
    assert points[0]["mean"] == pytest.approx(np.mean(losses), rel=1e-4)
    half = (points[0]["high"] - points[0]["low"]) / 2
    assert half == pytest.approx(np.std(losses, ddof=1), rel=1e-3)


def test_configurations_are_compared_by_seeds_that_both_have(plan: Path) -> None:
    runs = load(PlanFolder(plan))
    (found,) = comparisons.comparisons(runs, labels(runs))
    scores = {run.configuration: {} for run in runs}
    for run in runs:
        scores[run.configuration][run.seed] = run.score
    first, second = [each for each in scores.values() if len(each) == 5]
    differences = [first[seed] - second[seed] for seed in first]
    assert found.num_seeds == 5 and {found.first, found.second} == {"fit, lr 0.1", "fit, lr 0.3"}
    assert found.difference == pytest.approx(np.mean(differences))
    assert min(differences) < found.low < found.difference < found.high < max(differences)


def test_few_seeds_have_no_interval() -> None:
    differences = np.arange(10.0).reshape(5, 2)
    assert comparisons.intervals(differences[:4]) == [(None, None)] * 2
    for (low, high), own in zip(comparisons.intervals(differences), differences.T, strict=True):
        assert min(own) < low < np.mean(own) < high < max(own)


def test_comparisons_without_an_interval_come_last() -> None:
    runs = [
        SimpleNamespace(state="done", score=score + seed % 2 * 0.1, score_name="loss", seed=seed,
                        configuration=name)
        for name, score, seeds in (("few", 9.0, 4), ("a", 0.0, 5), ("b", 1.0, 5), ("c", 2.0, 5))
        for seed in range(seeds)
    ]  # fmt: skip
    found = comparisons.comparisons(runs, {run.configuration: run.configuration for run in runs})
    assert [(one.num_seeds, round(abs(one.difference))) for one in found] == [
        (5, 2), (5, 1), (5, 1), (4, 9), (4, 8), (4, 7)
    ]  # fmt: skip


def test_labels_have_what_tells_runs_apart(plan: Path) -> None:
    assert sorted(labels(load(PlanFolder(plan))).values()) == ["exp", "fit, lr 0.1", "fit, lr 0.3"]


def test_a_plan_that_has_not_ended_has_a_report_too(workplace: Workplace) -> None:
    path = workplace.write_plan(
        experiment=TOY,
        configurations=[{"base_config": {"epochs": 2, "random_seed": 0}}],
    )
    assert workplace.run_plan(path).status == 0
    folder = workplace.path / "outputs/exps/plan"
    (run,) = workplace.folders()
    for file in ("metrics.jsonl", "config.json", "provenance.json", "log.txt"):
        (run.path / file).unlink()
    run.status.write_text("{}")
    page = write_report(folder).read_text()
    assert "Nothing has been measured yet" in page


def test_the_command_writes_it(plan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--plan", str(plan), "--watch"]) == 0
    assert capsys.readouterr().out == f"{plan / 'report.html'}\n"
    assert main(["report", "--plan", str(plan / "figures")]) == 2
    assert "holds no runs of a plan" in capsys.readouterr().err


def test_a_large_plan_shows_configurations_from_the_best_to_the_worst(tmp_path: Path) -> None:
    write_plan_folder(tmp_path / "plan", num_configurations=70, num_seeds=2, num_epochs=3)
    runs = load(PlanFolder(tmp_path / "plan"))
    shown = {run.configuration: run for run in chosen(runs)}
    assert len(shown) == MOST and len(chosen(runs)) == 2 * MOST
    means = np.array([run.score for run in runs]).reshape(70, 2).mean(1)
    by_configuration = dict(
        zip(dict.fromkeys(run.configuration for run in runs), means, strict=True)
    )
    kept = [by_configuration[key] for key in shown]
    assert max(kept) == max(means) and min(kept) == min(means)
    page = write_report(tmp_path / "plan").read_text()
    assert f"{MOST} of 70 configurations" in page and "<td>none, 2 seeds</td>" in page
    data = data_of(page)
    assert set(data["colourings"]["curve"]) == {"configuration", "lr", "opt_method"}
    assert set(data["colourings"]["curve"]["opt_method"]["colours"]) == {"sft", "rft"}
    colours = {name: found["colours"] for name, found in data["colourings"]["curve"].items()}
    assert len(set(colours["configuration"].values())) == MOST  # no two lines look alike


def test_colours_are_all_different() -> None:
    for count in (1, 8, 9, 40):
        assert len(set(palette(list(map(str, range(count)))).values())) == count


def test_stages_read_what_they_or_those_that_they_extend_name(tmp_path: Path) -> None:
    entries = [
        {"id": "a"},
        {"id": "b", "extends": None},
        {"id": "c", "base_config": {"x": "@a.file"}},
        {"id": "d", "extends": "c"},
        {"id": "e", "extends": "d", "base_config": {"y": "@b.file"}},
        {"base_config": {"x": "@b.file", "y": "@e.file"}},
    ]
    (tmp_path / "plan.json").write_text(json.dumps({"configurations": entries}))
    assert stages(PlanFolder(tmp_path)) == {
        "a": [], "b": [], "c": ["a"], "d": ["a"], "e": ["a", "b"], "configurations[5]": ["b", "e"]
    }  # fmt: skip


def test_lines_of_keys_with_one_end_have_labels_of_their_own() -> None:
    options = [{"a.lr": "1", "b.lr": ""}, {"a.lr": "", "b.lr": "1"}, {"a.lr": "", "b.lr": ""}]
    runs: Any = [
        SimpleNamespace(stage="fit", name="x", options=one, configuration=("fit", *one.values()))
        for one in options
    ]
    assert list(labels(runs).values()) == ["x, a.lr 1", "x, b.lr 1", "x"]
