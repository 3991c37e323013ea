"""Runs that have taken along the process of this program that made them."""

from __future__ import annotations

import logging

from common.plan.run import Plan
from common.process.endings import how_it_ended
from common.process.supervisor import Ended
from common.run.status import FAILED, INTERRUPTED
from common.runner.run_state import read_state
from common.runner.scheduling.lost_attempts import record_loss
from common.runner.tasks import task_of

log = logging.getLogger(__name__)


def tell_of_loss(plan: Plan, ended: Ended) -> bool:
    """Record in their folders that attempts were lost; return whether a run has failed by that."""
    by_folder = {str(run.folder.absolute()): run for run in plan.runs}
    lost = [by_folder[name] for name in ended.under_way if name in by_folder]
    tasks = [task_of(plan, run, threads=1, use_gpus=False) for run in lost]
    record_loss(tasks, how_it_ended(ended.code, "process"))
    states = [read_state(run) for run in lost]
    for run, found in zip(lost, states, strict=True):
        goes_on = found.state == INTERRUPTED
        told = f"{found.reason}; it is continued" if goes_on else f"{found.state}, {found.reason}"
        log.warning("%s: %s", run.name, told)
    return any(found.state == FAILED for found in states)
