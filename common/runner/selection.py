"""Selection of the runs to make, and the states of all runs before that."""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace

from common.errors import UserError
from common.files.fsync import make_folder, sync_folder
from common.plan.run import Plan, Run
from common.run.folder import RunFolder
from common.run.lease import Lease, LeaseHeld, take
from common.run.status import DONE, FAILED, RUNNING, WAITING
from common.runner.run_state import RunState, read_state

_LONGEST_WAIT = 5.0
"""Seconds that a worker whose parent was killed may take to end."""
_MOMENT = 0.05  # seconds


@dataclass(frozen=True)
class Selection:
    """Runs to make, in plan order, and the state of every run of the plan."""

    to_make: list[Run]
    states: dict[Run, RunState]
    again: frozenset[Run] = frozenset()
    """Those of them that have ended, by their folders."""
    fresh: bool = False
    """True if the selected runs are made anew, whatever is in their folders."""

    @property
    def not_done(self) -> list[Run]:
        """Runs to make that are not done."""
        return [run for run in self.to_make if self.states[run].state != DONE]


def select(
    plan: Plan,
    *,
    only: str | None = None,
    retry_failed: bool = False,
    fresh: bool = False,
    since: float | None = None,
) -> Selection:
    """Return the runs to make, and the state of every run.

    Args:
        plan: the plan; its ``skip`` is the number of leading runs to leave out.
        only: a regular expression; only runs with a match in name or stage are selected.
        retry_failed: if true, failed runs are tried again.
        fresh: if true, the selected runs and those that refer to them are made anew.
        since: time (in seconds since 1970) from which on another process has done what these two
            ask for; None if none has.

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
    if fresh and since is None:
        for run in wanted:
            states[run] = RunState(WAITING)
    wanted |= _missing_sources(wanted, states)
    for run in wanted:
        stays = states[run].state == FAILED and not (retry_failed and _failed_before(run, since))
        if states[run].state not in (DONE, RUNNING) and not stays:
            states[run] = replace(states[run], state=WAITING, reason="")
    to_make = [run for run in plan.runs if run in wanted]
    again = frozenset(run for run in wanted & had_ended if states[run].state == WAITING)
    return Selection(to_make, states, again, fresh and since is None)


def _failed_before(run: Run, since: float | None) -> bool:
    """Return whether the run, which has failed, had failed at a time; None is now."""
    if since is None:
        return True
    ended = RunFolder(run.folder).read_status().get("ended")
    return ended is None or datetime.datetime.fromisoformat(ended).timestamp() < since


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
                # Somebody removed what is needed: make it anew.
                states[source] = replace(states[source], state=WAITING)
            if source not in found and states[source].state != DONE:
                found.add(source)
                open_runs.append(source)
    return found


def put_aside(plan: Plan, runs: Iterable[Run]) -> None:
    """Move existing folders of ``runs`` to the plan's ``replaced`` folder.

    Raises:
        UserError: another process makes one of them; nothing has been moved.
    """
    existing = [run for run in runs if run.folder.exists()]
    deadline = time.monotonic() + _LONGEST_WAIT
    with ExitStack() as stack:
        leases = []
        for run in existing:
            leases.append(_take(run, deadline))
            stack.callback(leases[-1].release)
        for run, lease in zip(existing, leases, strict=True):
            target = plan.folder.replaced / f"{run.folder.name}-{time.time_ns()}"
            make_folder(target.parent)
            lease.forget()
            run.folder.replace(target)
            sync_folder(target.parent)
            sync_folder(run.folder.parent)


def _take(run: Run, deadline: float) -> Lease:
    """Return the lease of the run's folder; a worker whose parent was killed ends in a moment."""
    while True:
        try:
            return take(run.folder)
        except LeaseHeld as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"--fresh: {error}; wait for that process or end it, then run the command again"
                ) from None
        time.sleep(_MOMENT)
