"""A run's ``summary.json``: its score with the score's name, and what else was found."""

from __future__ import annotations

from typing import Any

from common.run.folder import RunFolder, read_json, write_json

_NAME = "score_metric_name"


def write_summary(
    folder: RunFolder, score: float | None, score_metric_name: str | None, **found: Any
) -> None:
    """Writes the summary; a score is a number only with the name of what it measures."""
    write_json(folder.summary, {"score": score, _NAME: score_metric_name, **found})


def score_name(folder: RunFolder) -> str | None:
    """What the run's score measures; None where the summary does not say it."""
    try:
        found = read_json(folder.summary)
    except (OSError, ValueError):
        return None
    name = found.get(_NAME) if isinstance(found, dict) else None
    return name if isinstance(name, str) else None
