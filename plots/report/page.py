"""The page of a report: contents from run folders, charts, and a template around them."""

from __future__ import annotations

import functools
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.run.folder import PlanFolder, write_text
from common.run.status import RUNNING, STATES, WAITING
from common.runner.index import FIXED_COLUMNS
from plots.report import charts, comparisons, curves, details
from plots.report.runs import ReportRun, labels, load
from plots.runs import json_object

if TYPE_CHECKING:
    from jinja2 import Template

_ASSETS = Path(__file__).parent / "assets"
FILE = "report.html"


def write_report(folder: Path) -> Path:
    """Write the report of a plan's folder into it, and return its path.

    Raises:
        UserError: the folder holds no plan.
    """
    plan = PlanFolder(folder)
    path = folder / FILE
    write_text(path, render(plan, load(plan)))
    return path


def has_ended(folder: Path) -> bool:
    """Return whether no run of the plan is running or waits."""
    return not {run.state for run in load(PlanFolder(folder))} & {RUNNING, WAITING}


def render(plan: PlanFolder, runs: Sequence[ReportRun]) -> str:
    """Return the page."""
    asked = json_object(plan.plan)
    names = labels(runs)
    stages = details.stages(plan)
    final, earlier = _by_stage(runs, stages)
    compared = comparisons.comparisons(final)
    pairs = [
        {**asdict(each), "pair": f"{each.first} - {each.second}"}
        for each in compared
        if each.low is not None
    ]
    of_inputs = details.inputs(runs)
    drawn = _curves("curve", final) | _curves("earlier", earlier)
    if pairs:
        drawn["differences"] = charts.differences(pairs)
    if of_inputs:
        drawn["inputs"] = charts.inputs(of_inputs)
    counts = Counter(run.state for run in runs)
    columns = _columns(runs)
    return _template().render(
        title=asked.get("name") or plan.path.name,
        description=asked.get("description", ""),
        counts=[(state, counts[state]) for state in STATES if counts[state]],
        stages=stages,
        asked=json.dumps(asked, indent=2, ensure_ascii=False),
        columns=columns,
        rows=[_row(run, columns) for run in runs],
        lines=charts.colours(_lines(final)),
        earlier_lines=charts.colours(_lines(earlier)),
        svgs={name: charts.as_svg(spec) for name, spec in drawn.items()},
        compared=compared,
        inputs=of_inputs,
        outputs=details.outputs(runs),
        failures=details.failures(runs),
        provenance=details.provenance(runs),
        changes=details.changes(runs),
        figures=_figures(plan),
        data=_as_script({
            "charts": drawn,
            "seeds": curves.seed_points(final, curves.shown_metrics(final)),
            "last": _last_values(final, names),
            "colours": charts.colours(_lines(final)),
        }),
        library=_in_script(charts.library()),
        style=(_ASSETS / "report.css").read_text(encoding="utf-8"),
        script=(_ASSETS / "report.js").read_text(encoding="utf-8"),
    )  # fmt: skip


def _by_stage(
    runs: Sequence[ReportRun], stages: Mapping[str, Sequence[str]]
) -> tuple[list[ReportRun], list[ReportRun]]:
    """Return the runs of stages that no other one reads, and those of the others."""
    read = {name for reads in stages.values() for name in reads}
    final = [run for run in runs if run.stage not in read]
    return final, [run for run in runs if run.stage in read]


def _lines(runs: Sequence[ReportRun]) -> list[str]:
    return list(labels([run for run in runs if len(run.metrics)]).values())


def _curves(name: str, runs: Sequence[ReportRun]) -> dict[str, charts.Spec]:
    """Return the charts of learning curves, called ``<name>-<number>``."""
    metrics = curves.shown_metrics(runs)
    points = curves.curves(runs, metrics)
    return {
        f"{name}-{number}": charts.curve(metric, points, _lines(runs))
        for number, metric in enumerate(metrics)
    }


@functools.cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_ASSETS), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html")


def _columns(runs: Sequence[ReportRun]) -> list[str]:
    """Return the keys whose values differ between runs, seeds included."""
    keys = list(dict.fromkeys(key for run in runs for key in run.row if key in _varying(run)))
    return [key for key in keys if len({run.row.get(key) for run in runs}) > 1]


def _varying(run: ReportRun) -> Mapping[str, str]:
    fixed = set(FIXED_COLUMNS) - {"repetition"}
    return {key: value for key, value in run.row.items() if key not in fixed}


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
        "options": [run.row.get(key, "") for key in columns],
        "folder": run.row["folder"],
    }


def _last_values(
    runs: Sequence[ReportRun], names: Mapping[tuple[str, ...], str]
) -> list[dict[str, Any]]:
    """Return the last value of every metric of each run, for charts of two of them."""
    found = []
    for run in runs:
        filled = run.metrics.ffill().tail(1).to_dict("records")
        values = {
            str(name): float(f"{value:.6g}")
            for row in filled
            for name, value in row.items()
            if math.isfinite(value)
        }
        if run.score is not None:
            values["score"] = run.score
        if values:
            found.append({"line": names[run.configuration], "seed": run.seed, "values": values})
    return found


def _figures(plan: PlanFolder) -> list[str]:
    return sorted(path.name for path in plan.figures.glob("*.png"))


def _as_script(value: Any) -> str:
    """Return JSON that may stand in a script element."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _in_script(code: str) -> str:
    """Return JavaScript that may stand in a script element: no string in it ends the element."""
    return re.sub("<(?=/script|!--)", r"\\x3c", code, flags=re.IGNORECASE)
