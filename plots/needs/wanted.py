"""Kinds of tables that figures draw, and which runs of a plan will have them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import Problem
from common.run.folder import RunFolder
from plots.needs.planned import Leaves, PlannedRun

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Wanted:
    """Kind of table that a figure draws of a run."""

    read: Callable[[RunFolder], pd.DataFrame | None]
    """Function that returns the table of a run; None if the run has nothing to draw."""
    description: str
    """Description of the table and its file, to complete "no run has ..."."""
    fix: str
    """Advice on how to get runs that have it."""
    left_by: Leaves
    """Function that tells, before runs are made, which of them will have it."""


def drawn(runs: Iterable[PlannedRun], wanted: Wanted) -> list[PlannedRun]:
    """Return the runs that will leave what a figure draws, or may."""
    return [run for run in runs if run.is_users or wanted.left_by(run)]


def none_leaves(runs: Sequence[PlannedRun], wanted: Wanted) -> Iterator[Problem]:
    """Yield the problem of a plan none of whose runs will leave what a figure draws."""
    if not drawn(runs, wanted):
        yield Problem(f"no run of the plan will have {wanted.description}; {wanted.fix}")
