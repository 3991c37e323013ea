"""Pictures that a plan shows when it ends: its figures and its report, which others draw."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.plan.run import Plan
from common.run.folder import RunFolder
from common.runner import report

log = logging.getLogger(__name__)

Draw = Callable[..., list[Path]]
"""Function ``draw(name, [plan folder], **options)``, which draws a figure and returns its paths."""
WriteReport = Callable[[Path], Path]
"""Function that writes the report of a plan's folder and returns its path."""


@dataclass(frozen=True)
class Pictures:
    """Functions that draw what a plan shows."""

    draw: Draw
    write_report: WriteReport


def draw_figures(plan: Plan, draw: Draw, *, may_lack_runs: bool) -> bool:
    """Draw the plan's figures and print their paths; return false if a figure failed.

    With ``may_lack_runs``, for runs that were skipped on purpose, a figure without data is no
    failure.
    """
    all_drawn = True
    for name, options in plan.document.figure_requests():
        try:
            report.say(report.paths(draw(name, [plan.folder.path], **options)))
        except UserError as error:
            log.log(
                logging.WARNING if may_lack_runs else logging.ERROR, "figure %s: %s", name, error
            )
            all_drawn = all_drawn and may_lack_runs
        except Exception:
            log.exception("figure %s failed", name)
            all_drawn = False
    return all_drawn


def write_report(plan: Plan, write: WriteReport) -> None:
    """Write the plan's report and print its path, if it is asked for and its runs are newer.

    A failure is logged alone: the runs are what they are.
    """
    if not plan.document.report or _is_new(plan):
        return
    try:
        report.say(str(write(plan.folder.path)))
    except Exception as error:
        log.warning(
            "the report could not be written: %s",
            error,
            exc_info=not isinstance(error, (UserError, OSError)),
        )


def _is_new(plan: Plan) -> bool:
    """Return whether there is a report that is newer than each of the runs."""
    try:
        written = plan.folder.report.stat().st_mtime_ns
    except OSError:
        return False
    return all(_changed_at(RunFolder(run.folder).status) <= written for run in plan.runs)


def _changed_at(path: Path) -> int:
    """Return when a file was changed, in ns; 0 if there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
