"""Learning curves of a report: means and deviations over the runs of each configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plots.report.configurations import Key, by_configuration
from plots.report.runs import ReportRun, Series

MOST_METRICS = 9
"""Number of metrics whose curves are shown."""
_MOST_POINTS = 100
"""Number of points of a line, which are as many as the chart's width shows."""
_MOST_CHART_POINTS = 1_200
"""Number of points of a chart with many lines."""
_FEWEST_POINTS = 8
_MOST_SEED_POINTS = 40_000
"""Number of points of single runs in a page; with more of them, only means are shown."""
_FIRST = ("score", "train_loss", "loss", "reward")
_LATER = ("seconds", "elapsed", "lr", "learning_rate")


def shown_metrics(runs: Sequence[ReportRun]) -> list[str]:
    """Return the metrics of most interest: scores, losses, evaluations, then others."""
    scores = {run.score_name for run in runs}
    places = {name: place for place, name in enumerate(all_metrics(runs))}

    def rank(name: str) -> int:
        if name in scores:
            return 0
        if any(word in name for word in _LATER) or name == "epoch":
            return 9
        if name.startswith(("val/", "validation")):
            return 1
        if any(word in name for word in _FIRST):
            return 2
        return 3 if "std" in name or name.startswith("groups/") else 4

    chosen = sorted(places, key=lambda name: (rank(name), places[name]))
    return [name for name in chosen if rank(name) < 9][:MOST_METRICS]


def all_metrics(runs: Sequence[ReportRun]) -> list[str]:
    """Return the names of all that was measured, in the order of the first run's rows."""
    return list(dict.fromkeys(name for run in runs for name in run.metrics))


def curves(
    runs: Sequence[ReportRun], metrics: Sequence[str], names: Mapping[Key, str]
) -> dict[str, list[dict[str, Any]]]:
    """Return the points of each metric's lines: x, mean, and one deviation to each side."""
    groups = by_configuration(runs)
    most = max(_FEWEST_POINTS, min(_MOST_POINTS, _MOST_CHART_POINTS // max(1, len(groups))))
    found: dict[str, list[dict[str, Any]]] = {}
    for metric in metrics:
        found[metric] = []
        for key, own in groups.items():
            series = [run.metrics[metric] for run in own if metric in run.metrics]
            found[metric] += _of_line(names[key], series, most)
    return found


def _of_line(name: str, series: Sequence[Series], most: int) -> list[dict[str, Any]]:
    """Return up to ``most`` points, each the mean over the runs that measured it there."""
    steps = _subset(sorted({step for one in series for step in one}), most)
    values = np.array([[one.get(step, np.nan) for step in steps] for one in series])
    if not values.size:
        return []
    counts = (~np.isnan(values)).sum(0)
    means = np.nanmean(values, 0)
    squares = np.nansum((values - means) ** 2, 0)
    stds = np.sqrt(squares / np.maximum(counts - 1, 1))  # 0 for a single run
    columns = (steps, means, means - stds, means + stds, counts)
    return [
        {"line": name, "x": step, "mean": short(mean), "low": short(low), "high": short(high),
         "n": int(count)}
        for step, mean, low, high, count in zip(*columns, strict=True)
    ]  # fmt: skip


def seed_points(
    runs: Sequence[ReportRun], metrics: Sequence[str], names: Mapping[Key, str]
) -> list[dict[str, Any]]:
    """Return the points of single runs; none if they would be too many for a page."""
    most = _MOST_SEED_POINTS // max(1, len(runs) * len(metrics))
    if most < _FEWEST_POINTS:
        return []
    return [
        {"line": names[run.configuration], "seed": run.seed, "metric": metric, "x": step,
         "mean": short(run.metrics[metric][step])}
        for run in runs
        for metric in metrics
        if metric in run.metrics
        for step in _subset(sorted(run.metrics[metric]), min(most, _MOST_POINTS))
    ]  # fmt: skip


def _subset(steps: Sequence[float], most: int) -> list[float]:
    """Return up to ``most`` of the steps, the first and last among them."""
    if len(steps) <= most:
        return list(steps)
    places = np.unique(np.linspace(0, len(steps) - 1, most).round().astype(int))
    return [steps[place] for place in places]


def last_values(runs: Sequence[ReportRun], names: Mapping[Key, str]) -> list[dict[str, Any]]:
    """Return the last value of every metric of each run, its score among them.

    None for what a run has not measured.
    """
    metrics = [name for name in all_metrics(runs) if name != "epoch"]
    return [
        {
            "line": names[run.configuration], "run": run.row["folder"],
            "score": None if run.score is None else short(run.score),
            **{name: _last(run.metrics.get(name)) for name in metrics},
        }
        for run in runs
        if run.metrics or run.score is not None
    ]  # fmt: skip


def _last(series: Series | None) -> float | None:
    return short(series[max(series)]) if series else None


def short(value: float) -> float:
    """Return the number with as many digits as a picture shows."""
    return float(f"{value:.5g}")
