"""Rewards at the end of finetuning runs over a number that they differ in, with error bars."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.key_paths import value_at
from plots import lines
from plots.captions import evaluated, over_seeds
from plots.finetuning.lineage import model_key
from plots.finetuning.rewards import SFT
from plots.needs import planned
from plots.needs.wanted import Wanted
from plots.runs import Run, read_steps
from plots.variants import subject

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WANTED = Wanted(
    read_steps,
    "metrics by step and epoch ('step' in metrics.jsonl)",
    'fix: give runs of the experiment "grue_finetune"',
    planned.trains_in_steps,
)
BY_REWARDS = replace(
    WANTED,
    description="rewards by iteration",
    fix='fix: give runs of the experiment "grue_finetune" that finetune by rewards',
    left_by=planned.finetunes_by_rewards,
)
"""Table of the runs that finetune by rewards alone."""
_VALIDATION = "val/"
_SUPERVISED = "supervised"
_PANEL = (3.3, 2.8)
_APART = 0.06
"""Distance between the markers of neighbouring lines; values are 1 apart."""
_LABEL_WIDTH = 40
_BASELINE: dict[str, Any] = {"color": "black", "linestyle": (0, (6, 2)), "linewidth": 1.2}
_BEFORE: dict[str, Any] = {"linestyle": (0, (1, 1.5)), "linewidth": 1.2}


@dataclass(frozen=True)
class Place:
    """Place of a run in the figure."""

    panel: str
    """Label of the horizontal axis."""
    line: str
    x: float
    run: Run


def by_rewards(runs: Sequence[Run]) -> list[Run]:
    """Return the runs that finetune by rewards."""
    return [run for run in runs if run.method != _SUPERVISED]


def metric_of(runs: Sequence[Run], chosen: str | None) -> str:
    """Return the metric to draw: the configured one, or the first validation metric of the runs.

    Raises:
        UserError: no run measured it.
    """
    measured = list(dict.fromkeys(name for run in runs for name in run.metrics))
    names = [name for name in measured if name.startswith(_VALIDATION)]
    metric = chosen or next(iter(names), None)
    if metric is None or metric not in measured:
        known = ", ".join(measured) or "nothing"
        raise UserError(
            f"'metric' = '{metric or 'not given'}': no run measured it; there are {known}"
        )
    return metric


def statistics(places: Sequence[Place], metric: str) -> pd.DataFrame:
    """Return the plotted numbers, one row per panel, line and value.

    Columns: panel, line, x, mean and std (ddof 1; NaN for one run) of the metric's last values over
    n runs, and before, the mean of its first values.
    """
    import pandas as pd

    rows = [
        {"panel": place.panel, "line": place.line, "x": place.x, "last": values.iloc[-1],
         "first": values.iloc[0]}
        for place in places
        if len(values := _measured(place.run, metric))
    ]  # fmt: skip
    if not rows:
        raise UserError(f"nothing to draw: none of the drawn runs measured '{metric}'")
    by_point = pd.DataFrame(rows).groupby(["panel", "line", "x"], sort=False)
    last = by_point["last"]
    numbers = {"mean": last.mean(), "std": last.std(), "n": last.size()}
    return pd.DataFrame(numbers | {"before": by_point["first"].mean()}).reset_index()


def supervised(runs: Sequence[Run], places: Sequence[Place], metric: str) -> pd.Series:
    """Return the last values of supervised runs with the data and first models of the drawn runs.

    Of runs with different numbers of steps, those with the most count.
    """
    import pandas as pd

    wanted = {_start(place.run) for place in places}
    found = [run for run in runs if run.method == _SUPERVISED and _start(run) in wanted]
    most = max((run.table.index.max() for run in found), default=0)
    values = [_measured(run, metric) for run in found if run.table.index.max() == most]
    return pd.Series([value.iloc[-1] for value in values if len(value)], dtype=float)


def _start(run: Run) -> tuple[str, str]:
    """Return what runs with the same data and first model share."""
    data = json.dumps(value_at(run.config, "datapool"), sort_keys=True)
    return data, model_key(run.path, run.config)


def _measured(run: Run, metric: str) -> pd.Series:
    import pandas as pd

    column = run.column(metric)
    return run.table[column].dropna() if column in run.table else pd.Series(dtype=float)


def draw_panels(
    table: pd.DataFrame, baseline: pd.Series, stem: Path, *, runs: Sequence[Run], metric: str
) -> list[Path]:
    """Draw one panel per label of the horizontal axis, whose values are at even distances.

    Args:
        table: see `statistics`.
        baseline: values after SFT, drawn as a line with a band; empty for none.
        stem: path of the files without their suffixes.
        runs: drawn runs.
        metric: label of the vertical axis.

    Raises:
        UserError: the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    panels = table["panel"].unique().tolist()
    names = table["line"].unique().tolist()
    looks = dict(zip(names, lines.looks(), strict=False))
    with canvas.styled():
        columns = min(len(panels), 3)
        legend = _legend(table, looks, baseline)
        figure, grid = canvas.wrapped(
            len(panels), columns, _PANEL, lines=max(map(len, legend)) + 2, sharey=True
        )
        figure.suptitle(subject(runs), parse_math=False)
        for place, (axes, panel) in enumerate(zip(grid, panels, strict=True)):
            _panel(axes, table[table["panel"] == panel], looks, baseline)
            axes.set_xlabel(panel, parse_math=False)
            if place % columns == 0:
                axes.set_ylabel(metric, parse_math=False)
        canvas.legend(figure, legend, caption=_caption(table, baseline, runs, metric))
        return canvas.save(figure, table, stem)


def _panel(
    axes: Axes,
    points: pd.DataFrame,
    looks: Mapping[str, Mapping[str, Any]],
    baseline: pd.Series,
) -> None:
    """Draw the lines side by side, where they began, and the baseline."""
    if len(baseline):
        mean, std = baseline.mean(), baseline.std()
        axes.axhline(mean, **_BASELINE)
        if not math.isnan(std):
            axes.axhspan(mean - std, mean + std, color="black", alpha=0.12, linewidth=0)
    values = sorted(points["x"].unique())
    names = [name for name in looks if name in set(points["line"])]
    for number, name in enumerate(names):
        line = points[points["line"] == name].sort_values("x")
        shift = (number - (len(names) - 1) / 2) * _APART
        places = [values.index(value) + shift for value in line["x"]]
        axes.plot(places, line["before"], color=looks[name]["color"], **_BEFORE)
        axes.errorbar(places, line["mean"], line["std"], capsize=2.5, **looks[name])
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axes.margins(x=0.12)


def _legend(
    table: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]], baseline: pd.Series
) -> list[list[dict[str, Any]]]:
    """Return the legend's entries by column: the lines; where they began, and the baseline."""
    found: list[dict[str, Any]] = [
        {"label": lines.plain(textwrap.fill(name, _LABEL_WIDTH)), **look}
        for name, look in looks.items()
    ]
    others: list[dict[str, Any]] = [{"label": "before RFT", "color": "dimgray", **_BEFORE}]
    if len(baseline):
        others.append({"label": SFT, **_BASELINE})
    return [found, others]


def _caption(table: pd.DataFrame, baseline: pd.Series, runs: Sequence[Run], metric: str) -> str:
    """Return the numbers of inputs, samples and seeds."""
    counts = [*table["n"], *([len(baseline)] if len(baseline) else [])]
    several = max(counts) > 1
    bars = "\nbars and band: \u00b1 1 standard deviation over them" if several else ""
    return f"last evaluation: {evaluated(runs, [metric])}, {over_seeds(counts)}{bars}"
