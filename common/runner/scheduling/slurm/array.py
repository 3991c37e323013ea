"""Submission of an array of jobs, through submitit."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

from common.config.executors import SlurmKeys
from common.plan.run import Plan
from common.runner.scheduling.slurm import commands, job
from common.runner.scheduling.slurm.commands import SlurmError
from common.runner.scheduling.slurm.parameters import (
    Needs,
    sbatch_parameters,
    seconds_ahead,
    setup_lines,
)
from common.runner.scheduling.slurm.submission import Submission
from common.runner.scheduling.task import Task, to_line

log = logging.getLogger(__name__)


def submit(
    plan: Plan, groups: Sequence[Sequence[Task]], needs: Needs, most_at_once: int | None
) -> Submission:
    """Submit an array with a job for each group of tasks, of which so many run at once.

    Raises:
        SlurmError: SLURM refuses it; nothing is left in the queue.
    """
    import submitit

    keys = plan.document.executor
    assert isinstance(keys, SlurmKeys)
    runs = [[Path(task.folder).resolve() for task in tasks] for tasks in groups]
    submission = Submission.new(plan.folder, runs)
    executor = submitit.SlurmExecutor(submission.path)
    parameters = sbatch_parameters(keys, needs)
    executor.update_parameters(
        job_name=submission.name,
        time=None,  # submitit's own default would be five minutes
        wckey=None,
        setup=setup_lines(keys),
        signal_delay_s=seconds_ahead(_minutes(keys)),
        array_parallelism=most_at_once or len(groups),
        srun_args=[f"--cpus-per-task={parameters['cpus-per-task']}"],  # not inherited since 22.05
        additional_parameters=parameters,
    )
    try:
        with redirect_stderr(io.StringIO()):  # of what sbatch says, which the error has too
            jobs = executor.map_array(job.make, [to_line(tasks) for tasks in groups])
    except (submitit.core.utils.FailedJobError, OSError) as error:
        commands.cancel_named(submission.name)  # it may have been taken all the same
        submission.remove()
        raise SlurmError(_told(error)) from None
    submission = replace(submission, job_id=jobs[0].job_id.partition("_")[0])
    submission.write()
    number = f"{len(groups)} jobs" if len(groups) > 1 else "1 job"
    log.info("%s in the SLURM queue as %s (%s each)", number, submission.job_id, needs)
    return submission


def _minutes(keys: SlurmKeys) -> float:
    """Return the time limit of a job."""
    if keys.time_minutes is not None:
        return keys.time_minutes
    known = commands.partitions()
    named = (keys.partition or commands.default_partition() or "").split(",")
    return min((known[name].usual for name in named if name in known), default=commands.UNLIMITED)


def _told(error: Exception) -> str:
    """Return what ``sbatch`` said, which is the end of submitit's message."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    told = [line.partition("sbatch: error: ")[2] for line in lines if "sbatch: error: " in line]
    return "; ".join(told) or (lines[-1] if lines else type(error).__name__)
