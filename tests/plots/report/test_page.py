"""The report of a plan, as text and numbers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.run.folder import PlanFolder
from plots.__main__ import main
from plots.report import comparisons
from plots.report.page import has_ended, write_report
from plots.report.runs import labels, load
from tests.conftest import TOY, Workplace

pytest.importorskip("vl_convert")


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_a_page_has_everything_and_needs_nothing(plan: Path) -> None:
    page = write_report(plan).read_text()
    assert "Two step sizes &lt;b&gt;&amp; more&lt;/b&gt;" in page
    assert "ZeroDivisionError: as the plan says" in page  # the end of the traceback
    assert page.count('<span class="state done">done</span>') == 6
    assert "words &lt;i&gt;" in page and "before" in page
    assert page.count("<svg") >= 4  # reads without JavaScript
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    data = data_of(page)
    assert data["charts"]["inputs"]["data"]["values"][0]["prompt"] == "prompt 0 </script>"
    assert [run["seed"].split("/")[0] for run in data["last"] if "lr 0.1" in run["line"]] == [
        "0", "1", "2",
    ]  # fmt: skip
    size = len(page) - len(json.dumps(data))
    assert size < 1_500_000
    assert has_ended(plan)


def test_curves_are_means_over_seeds(plan: Path) -> None:
    data = data_of(write_report(plan).read_text())
    (spec,) = [chart for name, chart in data["charts"].items()
               if name.startswith("curve") and chart["title"]["text"] == "train loss"]  # fmt: skip
    points = [p for p in spec["data"]["values"] if p["line"].endswith("lr 0.1") and p["x"] == 2]
    runs = [run for run in load(PlanFolder(plan)) if run.options.get("lr") == "0.1"]
    losses = [run.metrics["train loss"][2] for run in runs]
    assert points[0]["n"] == 3
    assert points[0]["mean"] == pytest.approx(np.mean(losses), rel=1e-4)
    half = (points[0]["high"] - points[0]["low"]) / 2
    assert half == pytest.approx(np.std(losses, ddof=1), rel=1e-3)


def test_configurations_are_compared_by_seeds_that_both_have(plan: Path) -> None:
    runs = load(PlanFolder(plan))
    (found,) = comparisons.comparisons(runs)
    scores = {run.configuration: {} for run in runs}
    for run in runs:
        scores[run.configuration][run.seed] = run.score
    first, second = [each for each in scores.values() if len(each) == 3]
    differences = [first[seed] - second[seed] for seed in first]
    assert found.num_seeds == 3 and {found.first, found.second} == {"fit, lr 0.1", "fit, lr 0.3"}
    assert found.difference == pytest.approx(np.mean(differences))
    assert min(differences) <= found.low <= found.difference <= found.high <= max(differences)


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    covered = 0
    for seed in range(200):
        low, high = comparisons.interval(np.random.default_rng(seed).normal(1.0, 1.0, 40))
        covered += low <= 1.0 <= high
    assert 0.9 <= covered / 200 <= 0.98
    assert comparisons.interval(np.array([1.0])) == (None, None)


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
