"""Command line of the program: ``python run_plan.py --plan_config_path plan.json``."""

from __future__ import annotations

import os

from common.process.console import outlive_readers
from common.process.stopping import end_at_once
from common.process.supervisor import replaced, supervise
from common.process.threads import waiting_of


def _tell(folder: str, code: int | None) -> None:
    """Record in a plan's folder that the program has ended, if it could not do so itself."""
    from common.runner.stopped_program import tell_folder

    tell_folder(folder, code)


if __name__ == "__main__":  # before anything is said, loaded, or opened
    end_at_once()
    supervise(_tell)
    outlive_readers()

os.environ.update(waiting_of(os.environ))  # before torch is loaded

import argparse
import sys
from pathlib import Path

import grue  # noqa: F401  registers its experiments
import plots
import sft_vs_rft  # noqa: F401  registers its experiments
from common.errors import UserError
from common.experiment import EXPERIMENTS
from common.plan.load import load_plan, outline
from common.plan.schema import write_schema
from common.process.subprocess_cleanup import leave_after
from common.runner import report
from common.runner.cli_overrides import overrides_of
from common.runner.command_line import EXAMPLE, parse_arguments
from common.runner.config_dump import resolved_keys
from common.runner.console_log import logging_to_console
from common.runner.main import EXIT_FAILED, Request, run_plan
from common.runner.pictures import Pictures
from common.runner.preflight import look_at_machine, tell_notices
from common.runner.status_report import status_report

EXIT_REFUSED, EXIT_INTERRUPTED = 2, 130
_GONE = "the working folder has been deleted"


def _plan_path(args: argparse.Namespace) -> Path:
    if args.plan_config_path is None:
        raise UserError(f"no plan given; for example --plan_config_path {EXAMPLE}")
    path: Path = args.plan_config_path
    return path


def _run(args: argparse.Namespace) -> int:
    if _is_folder_gone():
        raise UserError(f"{_GONE}; run the command in one that exists")
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
        figure_lacks=plots.lacking,
    )
    request = Request(
        args.only,
        args.retry_failed,
        args.fresh,
        args.fail_fast,
        args.disable_console_log,
        args.detach,
        replaced(),
    )
    if args.dry_run:
        selection = request.select(plan)
        report.say(report.dry_run(plan, selection))
        if args.verbose:
            report.say(f"\n{resolved_keys(selection.to_make)}")
        look_at_machine(plan, selection)
        tell_notices(plan)
        return 0
    return run_plan(plan, request, Pictures(plots.draw, plots.write_report))


def _is_folder_gone() -> bool:
    """Return whether the working folder has been deleted; errors of the system do not name it."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def main(arguments: list[str] | None = None) -> int:
    """Run the program; return the exit status."""
    try:
        args = parse_arguments(sys.argv[1:] if arguments is None else arguments)
        with logging_to_console(args):
            return _run(args)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except OSError as error:  # a full disk, a folder that may not be written to
        told = _GONE if _is_folder_gone() else error
        print(f"error: {told}; fix this and run the same command again to resume", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    leave_after(main)
