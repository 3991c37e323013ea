"""Summary of a run, ``summary.json``: its score with the metric's name, and other results."""

from __future__ import annotations

from typing import Any

from common.run.folder import RunFolder, read_json, write_json

_NAME = "score_metric_name"


def write_summary(
    folder: RunFolder, score: float | None, score_metric_name: str | None, **found: Any
) -> None:
    """Write the summary; a score is written only with the name of its metric."""
    write_json(folder.summary, {"score": score, _NAME: score_metric_name, **found})


def score_name(folder: RunFolder) -> str | None:
    """Return the metric of the run's score; None if the summary does not name it."""
    try:
        found = read_json(folder.summary)
    except (OSError, ValueError):
        return None
    name = found.get(_NAME) if isinstance(found, dict) else None
    return name if isinstance(name, str) else None
