"""Packages and data of runs that this machine lacks, reported once for all runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from common.custom.hooks import answers
from common.errors import Problem
from common.plan.run import Run


def packages_missing(runs: Iterable[Run]) -> list[Problem]:
    """Return the problems of packages and data that the runs lack, each at its first key."""
    places: dict[str, dict[str, Problem]] = defaultdict(dict)
    for run in runs:
        for problem in answers(Problem, run.experiment, "missing()", run.config.missing):
            places[str(problem)].setdefault(run.where, problem)
    return [
        problem.at(where + (f" and {len(found) - 1} more" if len(found) > 1 else ""))
        for found in places.values()
        for where, problem in [next(iter(found.items()))]
    ]
