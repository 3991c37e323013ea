"""Log of a plan on the console, and in a file if asked for."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from common.errors import UserError
from common.runner import report
from common.runner.scheduling.attempt import LOG_NAME as ATTEMPT_LOG

_PLAN_LEVEL = (
    "common.runner.progress", "common.runner.main", "common.runner.pictures",
    "common.runner.elsewhere", "common.runner.scheduling.slurm.array",
    "__main__",
)  # fmt: skip


def _is_shown(record: logging.LogRecord) -> bool:
    """Return whether a record is for the user: lines about the plan, and all warnings."""
    if record.name == ATTEMPT_LOG:
        return False
    return record.levelno >= logging.WARNING or record.name in (report.__name__, *_PLAN_LEVEL)


class _Console(logging.Handler):
    """Log handler whose lines do not break progress bars."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name == report.__name__:
            tqdm.write(self.format(record), file=sys.stdout)
        else:
            warning = record.levelno >= logging.WARNING
            prefix = f"{record.levelname.lower()}: " if warning else ""
            tqdm.write(prefix + self.format(record), file=sys.stderr)


def _log_file(args: argparse.Namespace) -> logging.Handler:
    name = f"{args.log_file_name_prefix}_{time.strftime('%Y-%m-%d_%H-%M-%S')}.log"
    try:
        args.log_dir.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(args.log_dir / name, encoding="utf-8", delay=True)
    except OSError as error:
        raise UserError(
            f"--log_dir {args.log_dir}: cannot be made ({error.strerror}); choose another folder"
        ) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    return handler


@contextmanager
def logging_to_console(args: argparse.Namespace) -> Iterator[None]:
    """Log to the console inside the block, and to a file if one is given."""
    handlers: list[logging.Handler] = [_Console()]
    if args.save_logs:
        handlers.append(_log_file(args))
    for handler in handlers:
        handler.addFilter(_is_shown)
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    before, root.handlers[:] = root.handlers[:], handlers
    try:
        yield
    finally:
        root.handlers[:] = before
        for handler in handlers:
            handler.close()
