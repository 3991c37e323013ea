"""Attempts at runs, in this process: whatever happens, their folders record it."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from common.config.run import RunConfig
from common.custom.sources import unread_changes
from common.custom.user_code import told
from common.errors import Interrupted, UserError, text_of
from common.experiment import Context, Progress
from common.files.fsync import make_folder
from common.files.no_space import no_space
from common.files.temp_files import remove_leftovers
from common.machine import hub_offline
from common.machine.peak_memory import begin_measuring, peaks
from common.process.snapshot import end_copy_of, put_back
from common.process.stopping import StoppedAtOnce
from common.registry import import_part
from common.run import provenance, status
from common.run.folder import RunFolder, write_json
from common.run.lease import Lease, LeaseLost, check_lease
from common.run.written_files import SIZES, sizes
from common.runner.scheduling.claim import claim
from common.runner.scheduling.failure import failure_of
from common.runner.scheduling.rank import begin_computing, meet
from common.runner.scheduling.score_check import checked_score
from common.runner.scheduling.task import Task
from common.training.determinism import explained, set_numerics

LOG_NAME = __name__
"""Name of the logger of ends of attempts: in full in a run's ``log.txt``, as one line on a
console."""

log = logging.getLogger(LOG_NAME)


class Attempt:
    """One attempt at one run; a `common.experiment.Member` once it has begun."""

    config: RunConfig
    context: Context

    def __init__(self, task: Task, lease: Lease, *, num_together: int = 1) -> None:
        """Prepare the attempt, which ``num_together`` runs share, with the lease of its folder."""
        self.task = task
        self._lease = lease
        self._num_together = num_together
        self.folder = RunFolder(Path(task.folder))
        self.is_over = False
        self._started = time.monotonic()
        self._pid = os.getpid()
        self._begun: dict[str, Any] = {}
        self._once_done: list[Callable[[], None]] = []
        self._log_file = _LogFile(self.folder.log, encoding="utf-8", errors="backslashreplace")
        self._log_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    @contextmanager
    def on_its_own(self) -> Iterator[None]:
        """Enter a block that concerns this run alone; see `common.experiment.Member`.

        Raises:
            StoppedAtOnce: a second Ctrl-C; the run is marked as interrupted.
        """
        root = logging.getLogger()
        root.addHandler(self._log_file)
        try:
            yield
        except StoppedAtOnce:
            if not self.is_over:
                with suppress(LeaseLost):
                    self._end(status.INTERRUPTED, reason="stopped at once")
            raise
        except BaseException as error:  # user code may raise, or end, what it likes
            if self.is_over:
                log.warning("%s had ended when something went wrong: %s", self.task.name,
                            told(error))  # fmt: skip
            else:
                self._end_unless_lost(error)
        finally:
            root.removeHandler(self._log_file)

    def begin(
        self,
        stop_requested: Callable[[], bool],
        progress: Progress,
    ) -> None:
        """Record what is known of the run before it starts, and make its context."""
        task = self.task
        begin_measuring()
        remove_leftovers(self.folder.path, below=True, alone=True)
        changed = unread_changes(task.identity.get("sources", {}))
        if changed:
            raise UserError(f"changed since the plan was read: {', '.join(changed)}; run the "
                            "same command again to use the present files")  # fmt: skip
        config = task.run_config()
        seeds = {key: getattr(config, key) for key in config.seed_keys}
        record = provenance.record(self.folder, task.command, seeds, task.threads)
        device = f"cuda:{','.join(map(str, config.gpu_ids))}" if task.gpu_ids else "cpu"
        device += f" ({task.num_ranks} processes)" if task.num_ranks > 1 else ""
        self._begun = begun = status.begin(
            self.folder, task.identity, device, record["threads"],
            num_together=self._num_together,
        )  # fmt: skip
        write_json(self.folder.config, config.model_dump(mode="json"))
        set_numerics(config)
        seed, threads = record["seeds"]["random_seed"], record["threads"]
        if task.num_ranks > 1:
            seed, threads = meet(task, seed=seed, threads=threads)
        begin_computing(seed, threads)
        log.info(
            "---- attempt %d on %s, random seed %d, threads %d, process %d of %s ----",
            begun["attempt"], device, seed, threads, begun["pid"], begun["host"],
        )  # fmt: skip
        self.config = config
        self.context = Context(
            folder=self.folder,
            seed=seed,
            gpu_ids=task.device_ids,
            stop_requested=lambda: self._lease.is_lost or stop_requested(),
            progress=progress,
            once_done=self._once_done.append,
        )

    def done(self, score: float | None) -> None:
        """End the run successfully; temporary files of an unfinished run are removed afterwards.

        Raises:
            UserError: the score is no finite number, or the run has deleted its own records.
        """
        score = checked_score(score)
        for path in (self.folder.config, self.folder.provenance):
            if not path.exists():
                raise UserError(
                    f"{path.name} has gone from {self.folder.path} while the run was made; what a "
                    "run removes must be its own files, not its folder"
                )
        self._end(status.DONE, score=score)
        for action in self._once_done:
            try:
                action()
            except Exception as error:  # the run is done, whatever still lies about
                log.warning("%s: not all that was unfinished is removed: %s", self.task.name,
                            told(error))  # fmt: skip

    def _end_unless_lost(self, error: BaseException) -> None:
        """Record the end of the run, unless it is another process's run by now."""
        try:
            self._lease.check()
            self._end_with(error)
        except LeaseLost:
            self.is_over = True

    def _end_with(self, error: BaseException) -> None:
        error = explained(error)
        full = no_space(error, self.folder.path)
        if full is not None:
            self._end(status.INTERRUPTED, reason=str(full), no_space=True)
        elif isinstance(error, Interrupted):
            self._end(status.INTERRUPTED, reason=text_of(error))
        else:
            found = failure_of(error, self.task, num_together=self._num_together)
            log.error("%s", found.reason, exc_info=found.error)
            self._end(status.FAILED, reason=found.reason, traceback=found.traceback)

    def _end(self, state: str, **values: Any) -> None:
        end_copy_of(self._pid)
        self._lease.check()
        before = self.folder.read_status()
        if self._begun and before != self._begun:  # it is user code's doing
            before = self._begun
            if not self.folder.path.is_dir():
                self.folder.path.unlink(missing_ok=True)
            make_folder(self.folder.path)
            write_json(self.folder.status, before)
        with nullcontext() if state == status.DONE else suppress(OSError):
            provenance.record_hub(self.folder, hub_offline.commits())
        if state == status.DONE:  # after the last record but the status
            values[SIZES] = sizes(self.folder)
        seconds = before.get("seconds", 0.0) + time.monotonic() - self._started
        measured: dict[str, Any] = {"seconds": round(seconds, 3), **peaks()}
        status.end(self.folder, state, begun=before, **measured, **self.task.identity, **values)
        self.is_over = True

    def close(self) -> None:
        """Close the log file."""
        with suppress(OSError):  # of lines that did not fit
            self._log_file.close()


class _LogFile(logging.FileHandler):
    """Log handler that drops lines which do not fit on the disk, or of a run that is another's.

    The run's next file reports that.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Append a line."""
        with suppress(LeaseLost):
            check_lease(Path(self.baseFilename))
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Print other errors, as usual."""
        error = sys.exc_info()[1]
        if error is None or no_space(error, Path(self.baseFilename)) is None:
            super().handleError(record)


def attempt(
    tasks: Sequence[Task],
    *,
    stop_requested: Callable[[], bool],
    progress: Progress,
    print_to: Callable[[Path], None] = lambda log_file: None,
) -> bool:
    """Make one run, or several together, or their remaining parts.

    The results are in the folders' ``status.json``. Runs that another process makes, or has made,
    are left alone.

    Args:
        tasks: the runs.
        stop_requested: returns true once they are to end after a checkpoint.
        progress: takes the number of finished units and of all units, and what is being done.
        print_to: takes the log file for what the runs print.

    Returns:
        Whether an attempt was made at one of the runs.

    Raises:
        StoppedAtOnce: a second Ctrl-C; the runs are marked as interrupted.
    """
    claims: list[tuple[Task, Lease]] = []
    with ExitStack() as stack:
        for task in tasks:
            lease = claim(task)
            if lease is not None:
                stack.callback(lease.release)
                claims.append((task, lease))
        if claims:
            print_to(RunFolder(Path(claims[0][0].folder)).log)
            with put_back():
                _attempt(claims, stop_requested, progress)
    return bool(claims)


def _attempt(
    claims: Sequence[tuple[Task, Lease]],
    stop_requested: Callable[[], bool],
    progress: Progress,
) -> None:
    hub_offline.forget_commits()
    attempts = [Attempt(task, lease, num_together=len(claims)) for task, lease in claims]
    try:
        for one in attempts:
            with one.on_its_own():
                one.begin(stop_requested, progress)
        _make([one for one in attempts if not one.is_over])
    except BaseException as error:
        # What is not the matter of one run ends all that are under way.
        for one in attempts:
            if not one.is_over:
                with suppress(StoppedAtOnce), one.on_its_own():
                    raise error
        if isinstance(error, StoppedAtOnce):
            raise
    finally:
        for one in attempts:
            one.close()


def _make(attempts: list[Attempt]) -> None:
    if len(attempts) == 1:
        (one,) = attempts
        with one.on_its_own():
            one.done(import_part(one.task.run)(one.config, one.context))
    elif attempts:
        together = attempts[0].task.run_together
        assert together is not None
        import_part(together)(attempts)
        if not all(one.is_over for one in attempts):
            raise UserError(
                f"'{together}' has not ended the run; it calls done(score) of each of its members"
            )
