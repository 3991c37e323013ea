"""Selection of the runs to make, and the states of all runs before that."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from common.errors import UserError
from common.files.fsync import make_folder, sync_folder
from common.plan.run import Plan, Run
from common.run.folder import RunFolder
from common.run.status import DONE, FAILED, RUNNING, WAITING
from common.runner.run_state import RunState, read_state

_LONGEST_WAIT = 5.0  # seconds that a worker whose parent was killed may take to end


@dataclass(frozen=True)
class Selection:
    """Runs to make, in plan order, and the state of every run of the plan."""

    to_make: list[Run]
    states: dict[Run, RunState]
    again: frozenset[Run] = frozenset()
    """Those of them that have ended, by their folders."""
    fresh: bool = False
    """True if the selected runs are made anew, whatever is in their folders."""


def select(
    plan: Plan, *, only: str | None = None, retry_failed: bool = False, fresh: bool = False
) -> Selection:
    """Return the runs to make, and the state of every run.

    Args:
        plan: the plan; its ``skip`` is the number of leading runs to leave out.
        only: a regular expression; only runs with a match in name or stage are selected.
        retry_failed: if true, failed runs are tried again.
        fresh: if true, the selected runs and those that refer to them are made anew.

    Runs that a selected run refers to are selected too, unless they are done.

    Raises:
        UserError: ``only`` is no regular expression, or matches no run.
    """
    is_meant = matcher(only)
    unskipped = plan.runs[plan.document.skip * plan.document.repetitions :]
    wanted = {run for run in unskipped if is_meant(run.name, run.stage)}
    if not wanted:
        names = ", ".join(sorted({run.name for run in unskipped})[:6])
        raise UserError(f"--only '{only}' fits no run; the runs are {names}")
    states = {run: read_state(run) for run in plan.runs}
    had_ended = {run for run, found in states.items() if found.state in (DONE, FAILED)}
    if fresh:
        wanted |= _dependents(plan.runs, wanted)
        for run in wanted:
            states[run] = RunState(WAITING)
    wanted |= _missing_sources(wanted, states)
    for run in wanted:
        stays = states[run].state == FAILED and not retry_failed
        if states[run].state not in (DONE, RUNNING) and not stays:
            states[run] = replace(states[run], state=WAITING, reason="")
    to_make = [run for run in plan.runs if run in wanted]
    again = frozenset(run for run in wanted & had_ended if states[run].state == WAITING)
    return Selection(to_make, states, again, fresh)


def matcher(only: str | None) -> Callable[[str, str | None], bool]:
    """Return a test whether ``only`` matches a run's name or stage; None matches every run.

    Raises:
        UserError: ``only`` is no regular expression.
    """
    try:
        pattern = re.compile(only or "")
    except re.error as error:
        raise UserError(f"--only '{only}' is not a regular expression: {error}") from None
    return lambda name, stage: bool(pattern.search(name) or pattern.search(stage or ""))


def _dependents(runs: Iterable[Run], sources: set[Run]) -> set[Run]:
    """Return all runs that refer, directly or not, to one of ``sources``."""
    found = set(sources)
    grown = True
    while grown:
        more = {
            run
            for run in runs
            if run not in found and any(reference.run in found for reference in run.references)
        }
        found |= more
        grown = bool(more)
    return found


def _missing_sources(wanted: set[Run], states: dict[Run, RunState]) -> set[Run]:
    """Return all runs that ``wanted`` refer to, directly or not, and that are not done."""
    found: set[Run] = set()
    open_runs = list(wanted)
    while open_runs:
        run = open_runs.pop()
        if states[run].state == DONE:
            continue
        for reference in run.references:
            source = reference.run
            if states[source].state == DONE and not reference.target.exists():
                states[source] = RunState(WAITING)  # somebody removed what is needed: make it anew
            if source not in found and states[source].state != DONE:
                found.add(source)
                open_runs.append(source)
    return found


def put_aside(plan: Plan, runs: Iterable[Run]) -> None:
    """Move existing folders of ``runs`` to the plan's ``replaced`` folder."""
    for run in runs:
        if run.folder.exists():
            target = plan.folder.replaced / f"{run.folder.name}-{time.time_ns()}"
            make_folder(target.parent)
            run.folder.replace(target)
            sync_folder(target.parent)
            sync_folder(run.folder.parent)


def wait_for_leftover_workers(
    selection: Selection, in_queue: Callable[[Run], bool] = lambda run: False
) -> Selection:
    """Return the selection once no other process makes one of its runs.

    A worker whose parent was killed ends within a moment. Runs that are ``in_queue`` of a cluster
    are not waited for: the executor takes them up.

    Raises:
        UserError: a process still makes one of the runs.
    """
    deadline = time.monotonic() + _LONGEST_WAIT
    states = dict(selection.states)
    for run in selection.to_make:
        while states[run].state == RUNNING and not in_queue(run):
            states[run] = read_state(run)
            if states[run].state == RUNNING and time.monotonic() > deadline:
                found = RunFolder(run.folder).read_status()
                raise UserError(
                    f"{run.folder} is being made by process {found['pid']} on {found['host']}; "
                    f"wait for it, or end it; if that host is gone, remove "
                    f"{RunFolder(run.folder).status}"
                )
            time.sleep(0.05)
        if states[run].state not in (DONE, FAILED):
            states[run] = replace(states[run], state=WAITING, reason="")
    return replace(selection, states=states)
