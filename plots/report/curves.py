"""Learning curves of a report: means and deviations over the runs of each configuration."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from plots.report.runs import ReportRun, labels

MOST_METRICS = 9
"""Number of metrics whose curves are shown."""
_MOST_POINTS = 100
"""Number of points of a line."""
_MOST_SEED_POINTS = 40_000
"""Number of points of single seeds in a page; with more of them, only means are shown."""
_FIRST = ("score", "train_loss", "loss", "reward")
_LATER = ("seconds", "elapsed", "lr", "learning_rate")


def shown_metrics(runs: Sequence[ReportRun]) -> list[str]:
    """Return the metrics of most interest: scores, losses, evaluations, then others."""
    scores = {run.score_name for run in runs}
    names = list(dict.fromkeys(str(name) for run in runs for name in run.metrics.columns))

    def rank(name: str) -> tuple[int, int]:
        if name in scores:
            return 0, 0
        if any(word in name for word in _LATER) or name == "epoch":
            return 9, 0
        if name.startswith(("val/", "validation")):
            return 1, 0
        if any(word in name for word in _FIRST):
            return 2, 0
        return (3, 0) if "std" in name or name.startswith("groups/") else (4, 0)

    chosen = sorted(names, key=lambda name: (rank(name), names.index(name)))
    return [name for name in chosen if rank(name)[0] < 9][:MOST_METRICS]


def curves(runs: Sequence[ReportRun], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the points of all lines: configuration, metric, x, mean, and one deviation around."""
    names = labels(runs)
    by_configuration: dict[tuple[str, ...], list[ReportRun]] = defaultdict(list)
    for run in runs:
        by_configuration[run.configuration].append(run)
    found = []
    for key, own in by_configuration.items():
        for metric in metrics:
            found += _of_line(names[key], metric, [run for run in own if metric in run.metrics])
    return found


def _of_line(name: str, metric: str, runs: Sequence[ReportRun]) -> list[dict[str, Any]]:
    """Return the points of one line; each is the mean over the runs that measured it there."""
    import pandas as pd

    if not runs:
        return []
    values = pd.concat([run.metrics[metric].dropna() for run in runs], axis=1)
    means, stds = values.mean(axis=1), values.std(axis=1, ddof=1).fillna(0)
    points = []
    for row in _subset(len(means)):
        mean, std = float(means.iloc[row]), float(stds.iloc[row])
        points.append({
            "line": name, "metric": metric, "x": float(means.index[row]), "mean": _short(mean),
            "low": _short(mean - std), "high": _short(mean + std), "n": len(runs),
        })  # fmt: skip
    return points


def seed_points(runs: Sequence[ReportRun], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Return the points of single runs; none if they would be too many for a page."""
    names = labels(runs)
    found = []
    for run in runs:
        for metric in metrics:
            if metric not in run.metrics:
                continue
            values = run.metrics[metric].dropna()
            found += [
                {"line": names[run.configuration], "seed": run.seed, "metric": metric,
                 "x": float(values.index[row]), "mean": _short(float(values.iloc[row]))}
                for row in _subset(len(values))
            ]  # fmt: skip
        if len(found) > _MOST_SEED_POINTS:
            return []
    return found


def _subset(count: int) -> list[int]:
    """Return up to `_MOST_POINTS` positions among ``count``, the first and last among them."""
    if count <= _MOST_POINTS:
        return list(range(count))
    return [int(row) for row in np.unique(np.linspace(0, count - 1, _MOST_POINTS).round())]


def _short(value: float) -> float:
    """Return the number with as many digits as a picture shows."""
    return float(f"{value:.5g}")
