"""The page of a report: contents from run folders, charts, and a template around them."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.run.folder import PlanFolder, write_text
from common.run.status import RUNNING, STATES, WAITING
from plots.report import attempts, charts, comparisons, embedded, stage_graph, texts
from plots.report.configurations import MOST, Key, chosen, labels
from plots.report.curves import last_values, shown_metrics
from plots.report.learning import Learning
from plots.report.runs import ReportRun, load
from plots.runs import DIAGNOSIS, json_object

if TYPE_CHECKING:
    from jinja2 import Template

_ASSETS = Path(__file__).parent / "assets"
_LONGEST_VALUES = 300
OF_DIAGNOSIS = "plan"
"""Folder of a diagnosis's plan in its own."""


def write_report(folder: Path) -> Path:
    """Write the report of a plan's folder into it, and return its path.

    Raises:
        UserError: the folder holds no plan.
    """
    plan = PlanFolder(folder)
    write_text(plan.report, render(plan, load(plan)))
    return plan.report


def has_ended(folder: Path) -> bool:
    """Return whether no run of the plan is running or waits."""
    return not {run.state for run in load(PlanFolder(folder))} & {RUNNING, WAITING}


def render(plan: PlanFolder, runs: Sequence[ReportRun]) -> str:
    """Return the page."""
    names = labels(runs)
    stages = stage_graph.stages(plan, runs)
    read = {name for reads in stages.values() for name in reads}
    final = Learning.of([run for run in runs if run.stage not in read], names)
    earlier = Learning.of([run for run in runs if run.stage in read], names)
    compared = comparisons.comparisons(
        chosen([run for run in runs if run.stage not in read]), names
    )
    of_inputs = texts.inputs(sorted(runs, key=lambda run: run.stage in read), names)
    last = last_values(final.runs, names)
    drawn = (
        final.charts("curve")
        | earlier.charts("earlier")
        | _difference_chart(compared)
        | _pair_chart(final, last)
        | ({"inputs": charts.inputs(of_inputs)} if of_inputs else {})
    )
    return _template().render(
        **_asked(plan, runs, stages),
        **_table(runs),
        **_details(plan, runs, names),
        learning=final, earlier=earlier, most_configurations=MOST,
        compared=compared, least_seeds=comparisons.LEAST_SEEDS,
        inputs=of_inputs, most_inputs=texts.MOST_INPUTS,
        svgs={name: charts.as_svg(spec) for name, spec in drawn.items()},
        data=embedded.as_script(_data(drawn, final, earlier, last)),
        library=embedded.library(),
        style=(_ASSETS / "report.css").read_text(encoding="utf-8"),
        script=(_ASSETS / "report.js").read_text(encoding="utf-8"),
    )  # fmt: skip


def _difference_chart(compared: Sequence[comparisons.Comparison]) -> dict[str, charts.Spec]:
    pairs = [
        {**asdict(each), "pair": f"{each.first} - {each.second}"}
        for each in compared
        if each.low is not None
    ]
    return {"differences": charts.differences(pairs)} if pairs else {}


def _pair_chart(learning: Learning, last: Sequence[Mapping[str, Any]]) -> dict[str, charts.Spec]:
    """Return the chart of two metrics: at first the scores, or another one, and what is next."""
    measured = [
        name for name in (*shown_metrics(learning.runs), "score") if name in (last or [{}])[0]
    ]
    if not measured:
        return {}
    up, across = measured[0], measured[min(1, len(measured) - 1)]
    rows = [
        {"line": run["line"], "run": run["run"], "a": run[across], "b": run[up]}
        for run in last
        if None not in (run[across], run[up])
    ]
    return {"pair": charts.pair(across, up, rows, learning.colours)}


def _asked(
    plan: PlanFolder, runs: Sequence[ReportRun], stages: stage_graph.Stages
) -> dict[str, Any]:
    """Return what the page says of the plan."""
    asked = json_object(plan.plan)
    counts = Counter(run.state for run in runs)
    return {
        "title": asked.get("name") or plan.path.name,
        "description": asked.get("description", ""),
        "counts": [(state, counts[state]) for state in STATES if counts[state]],
        "stages": stages,
        "graph": stage_graph.graph(stages),
        "varying": _varying_values(runs),
        "asked": json.dumps(asked, indent=2, ensure_ascii=False),
        "sentences": json_object(plan.path / DIAGNOSIS).get("sentences", []),
        "figures": _figures(plan),
    }


def _figures(plan: PlanFolder) -> list[str]:
    """Return the paths of the figures in a plan's folder; a diagnosis's are those of its run."""
    folders = plan.figures, PlanFolder(plan.path / OF_DIAGNOSIS).figures
    return [
        path.relative_to(plan.path).as_posix()
        for folder in folders
        for path in sorted(folder.glob("*.png"))
    ]


def _varying_values(runs: Sequence[ReportRun]) -> dict[str, str]:
    """Return the values of each key that differs between runs."""
    found = {}
    for key in _columns(runs):
        values = ", ".join(dict.fromkeys(value for run in runs if (value := run.options.get(key))))
        found[key] = values if len(values) <= _LONGEST_VALUES else f"{values[:_LONGEST_VALUES]} ..."
    return found


def _table(runs: Sequence[ReportRun]) -> dict[str, Any]:
    """Return the table of runs."""
    columns = _columns(runs)
    return {"columns": columns, "rows": [_row(run, columns) for run in runs]}


def _columns(runs: Sequence[ReportRun]) -> list[str]:
    """Return the options whose values differ between runs."""
    keys = dict.fromkeys(key for run in runs for key in run.options)
    return [key for key in keys if len({run.options.get(key) for run in runs}) > 1]


def _row(run: ReportRun, columns: Sequence[str]) -> dict[str, Any]:
    """Return what the table of runs shows of a run."""
    return {
        "name": run.name,
        "stage": run.stage,
        "state": run.state,
        "reason": run.status.get("reason") or "",
        "score": run.score,
        "score_name": run.score_name if run.score is not None else "",
        "seconds": run.status.get("seconds"),
        "seed": run.seed,
        "options": [run.options.get(key, "") for key in columns],
        "folder": run.row["folder"],
    }


def _details(
    plan: PlanFolder, runs: Sequence[ReportRun], names: Mapping[Key, str]
) -> dict[str, Any]:
    """Return outputs, failures, and how the runs were made."""
    return {
        "outputs": texts.outputs(runs, names),
        "failures": attempts.failures(runs),
        "provenance": attempts.provenance(runs),
        "changes": attempts.changes(plan, runs),
    }


def _data(
    drawn: Mapping[str, charts.Spec],
    final: Learning,
    earlier: Learning,
    last: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return what the page's script draws."""
    return {
        "charts": {name: embedded.chart_data(spec) for name, spec in drawn.items()},
        "seeds": embedded.columns(final.seed_points()),
        "last": embedded.columns(last),
        "colourings": {"curve": final.told_colourings(), "earlier": earlier.told_colourings()},
    }


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_ASSETS), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html")
