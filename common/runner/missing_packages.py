"""Packages and data of runs that this machine lacks, reported once for all runs."""

from __future__ import annotations

from collections.abc import Iterable

from common.custom.hooks import answers
from common.errors import Problem, once_each
from common.plan.run import Run


def packages_missing(runs: Iterable[Run]) -> list[Problem]:
    """Return the problems of packages and data that the runs lack, each at its first key."""
    return once_each(
        problem.at(run.where)
        for run in runs
        for problem in answers(Problem, run.experiment, "missing()", run.config.missing)
    )
