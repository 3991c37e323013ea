"""Command line of the program: ``python run_plan.py --plan_config_path plan.json``."""

from __future__ import annotations

import os

from common.process.console import outlive_readers
from common.process.stopping import end_at_once

if __name__ == "__main__":  # before anything is said, or a file is opened
    end_at_once()
    outlive_readers()

# Before torch is loaded: threads that spin while they wait stall every neighbour.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tqdm import tqdm

import grue  # noqa: F401  registers its experiments
import plots
import sft_vs_rft  # noqa: F401  registers its experiments
from common.errors import UserError
from common.experiment import EXPERIMENTS
from common.plan.assignments import Parser, overrides_of, refuse, separate
from common.plan.load import load_plan, outline
from common.plan.schema import SCHEMA_PATH, write_schema
from common.process.children import leave_after
from common.runner import report
from common.runner.main import EXIT_FAILED, Request, look_for_packages, run_plan
from common.runner.resolved_keys import resolved_keys
from common.runner.scheduling.attempt import LOG_NAME as ATTEMPT_LOG
from common.runner.status_report import status_report

EXIT_REFUSED, EXIT_INTERRUPTED = 2, 130
_PLAN_LEVEL = ("common.runner.progress", "common.runner.main", "__main__")

_EXAMPLE = "experiment_plans/quickstart/digits.json"
_EPILOG = f"""\
examples:
  python run_plan.py --plan_config_path {_EXAMPLE}
  python run_plan.py --plan_config_path {_EXAMPLE} --dry_run
  python run_plan.py --plan_config_path {_EXAMPLE} --set epochs=20 --set seeds=[0]

exit status: 0 all runs are done; 1 some run or figure failed (--retry_failed tries such runs
again, the same command alone does not); 2 the plan was refused;
130 or 143 stopped by Ctrl-C or SIGTERM (the same command resumes).
"""


def _number_from(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers of at least ``least``."""

    def read(text: str) -> int:
        with suppress(ValueError):
            if int(text) >= least:
                return int(text)
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from {least} on")

    return read


_SWITCH = {"action": "store_true"}
_FLAGS: dict[str, list[tuple[str, str, str, dict[str, Any]]]] = {
    "which plan": [
        ("--plan_config_path", _EXAMPLE, "the plan", {"type": Path, "metavar": "FILE"}),
        (
            "--set",
            "lr=0.01 --set seeds=[0,1]",
            "overrides a key of every configuration that knows it, or of the plan; overrides "
            "base_config and options; repeatable; STAGE.KEY=VALUE is for the configuration with "
            "this id alone; key=value after the flags means the same",
            {"action": "append", "default": [], "metavar": "KEY=VALUE", "dest": "assignments"},
        ),
        (
            "--outputs_dir",
            "/scratch/me",
            "overrides 'outputs_dir' of every configuration",
            {"metavar": "FOLDER"},
        ),
    ],
    "look only": [
        (
            "--dry_run",
            "",
            "only show the table of runs: name, fingerprint, stage, what each waits for, and what "
            "would be skipped; and the missing packages",
            _SWITCH,
        ),
        (
            "--verbose",
            "--only pretrain",
            "with --dry_run, also show the runs' keys with their values and where each comes from: "
            "all keys of a configuration's first run, and of its others what differs",
            _SWITCH,
        ),
        (
            "--status",
            "",
            "only show the state of the runs, from their folders alone; works while the plan runs "
            "and after a crash",
            _SWITCH,
        ),
        (
            "--write_schema",
            "",
            "only write the JSON Schema of plans (default: experiment_plans/plan.schema.json of "
            "this project)",
            {"type": Path, "nargs": "?", "const": SCHEMA_PATH, "metavar": "FILE"},
        ),
    ],
    "which runs": [
        (
            "--only",
            "supervised",
            "make only runs whose name or stage matches, and what they need",
            {"metavar": "REGEX"},
        ),
        ("--retry_failed", "", "try failed runs again, from their last checkpoint", _SWITCH),
        (
            "--fresh",
            "--only pretrain",
            "repeat the selected runs, and those that refer to them; the old folders are moved to "
            "the plan's 'replaced' folder",
            _SWITCH,
        ),
        ("--fail_fast", "", "start no new run after the first failure", _SWITCH),
    ],
    "where they run": [
        (
            "--num_parallel",
            "2",
            "make N runs at the same time, each in a worker process",
            {"type": _number_from(1), "metavar": "N"},
        ),
        (
            "--num_threads",
            "1",
            "compute with N threads in each process (default: OMP_NUM_THREADS, else an "
            "equal share of the cores)",
            {"type": _number_from(1), "metavar": "N"},
        ),
        (
            "--gpu_ids",
            "0 1",
            "the GPUs to share among the slots; none for the CPU",
            {"type": _number_from(0), "nargs": "*", "metavar": "ID"},
        ),
    ],
    "output": [
        ("--disable_console_log", "", "do not report single runs that succeed", _SWITCH),
        ("--save_logs", "", "also write what the console shows to a log file", _SWITCH),
        (
            "--log_dir",
            "logs",
            "folder of that log file (default: the current one)",
            {"type": Path, "default": Path(), "metavar": "FOLDER"},
        ),
        (
            "--log_file_name_prefix",
            "mnist",
            "beginning of its name (default: plan)",
            {"default": "plan", "metavar": "TEXT"},
        ),
    ],
}
"""Return all flags by topic: name, example value, help, and arguments for argparse."""


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="run_plan.py",
        description="Makes the runs of a JSON plan that are not done yet, and draws its figures.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for topic, flags in _FLAGS.items():
        group = parser.add_argument_group(topic)
        for name, example, words, how in flags:
            shown = f"{name} {example}".rstrip()
            group.add_argument(name, help=f"{words}. Example: {shown}", **how)
    return parser


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the flags, with the bare ``key=value`` among the assignments.

    Raises:
        UserError: the command line has other words.
    """
    flags = {name: how for topic in _FLAGS.values() for name, _, _, how in topic}
    takes_one = {name for name, how in flags.items() if how.get("metavar") and name != "--gpu_ids"}
    bare, others = separate(arguments, takes_one)
    args, meaningless = _parser().parse_known_args(others)
    refuse(meaningless, list(flags))
    args.assignments = [*args.assignments, *bare]
    return args


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
def _logging(args: argparse.Namespace) -> Iterator[None]:
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


def _plan_path(args: argparse.Namespace) -> Path:
    if args.plan_config_path is None:
        raise UserError(f"no plan given; for example --plan_config_path {_EXAMPLE}")
    path: Path = args.plan_config_path
    return path


def _run(args: argparse.Namespace) -> int:
    if args.write_schema is not None:
        write_schema(args.write_schema, EXPERIMENTS)
        print(args.write_schema)
        return 0
    if args.verbose and not args.dry_run:
        raise UserError("--verbose: belongs to --dry_run; add that, or take it out")
    if args.status:
        plan_as_asked = outline(_plan_path(args), EXPERIMENTS, overrides_of(args))
        report.say(status_report(plan_as_asked, args.only))
        return 0
    plan = load_plan(
        _plan_path(args),
        EXPERIMENTS,
        overrides=overrides_of(args),
        check_figure=plots.check_options,
    )
    request = Request(
        args.only, args.retry_failed, args.fresh, args.fail_fast, args.disable_console_log
    )
    if args.dry_run:
        selection = request.select(plan)
        report.say(report.dry_run(plan, selection))
        if args.verbose:
            report.say(f"\n{resolved_keys(selection.to_make)}")
        look_for_packages(plan, selection)
        return 0
    return run_plan(plan, request, plots.draw)


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return the exit status."""
    try:
        args = _parsed(sys.argv[1:] if arguments is None else arguments)
        with _logging(args):
            return _run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except OSError as error:  # a full disk, a folder that may not be written to
        print(f"error: {error}; fix this and run the same command again to resume", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    leave_after(main)
