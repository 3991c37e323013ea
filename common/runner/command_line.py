"""Command line of run_plan.py: its flags by topic, each with an example."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from common.argument_parser import Parser
from common.config.executors import EXECUTOR_IDS
from common.plan.schema import SCHEMA_PATH
from common.runner.cli_overrides import refuse, separate

EXAMPLE = "experiment_plans/quickstart/digits.json"
_EPILOG = f"""\
examples:
  python run_plan.py --plan_config_path {EXAMPLE}
  python run_plan.py --plan_config_path {EXAMPLE} --dry_run
  python run_plan.py --plan_config_path {EXAMPLE} --set epochs=20 --set 'seeds=[0]'

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
        ("--plan_config_path", EXAMPLE, "the plan", {"type": Path, "metavar": "FILE"}),
        (
            "--set",
            "lr=0.01 --set 'seeds=[0,1]'",
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
            "would be skipped; warnings about keys, and the missing packages",
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
            "--executor",
            "slurm",
            "make the runs on this machine (local), in a SLURM queue (slurm), or on a Ray cluster "
            "(ray)",
            {"choices": EXECUTOR_IDS},
        ),
        (
            "--detach",
            "",
            "with a SLURM queue: submit what is ready, and leave; the same command takes up what "
            "has ended and submits what became ready",
            _SWITCH,
        ),
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
            "the GPUs to share among the workers; none for the CPU",
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
"""Flags by topic: name, example value, help, and arguments for argparse."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all flags."""
    parser = Parser(
        prog="run_plan.py",
        description="Makes the runs of a JSON plan that are not done yet, and draws its figures.",
        epilog=_EPILOG,
    )
    for topic, flags in _FLAGS.items():
        group = parser.add_argument_group(topic)
        for name, example, words, how in flags:
            shown = f"{name} {example}".rstrip()
            group.add_argument(name, help=f"{words}. Example: {shown}", **how)
    return parser


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the flags, with the bare ``key=value`` among the assignments.

    Raises:
        UserError: the command line has other words.
    """
    flags = {name: how for topic in _FLAGS.values() for name, _, _, how in topic}
    takes_one = {name for name, how in flags.items() if how.get("metavar") and name != "--gpu_ids"}
    bare, others = separate(arguments, takes_one)
    args, meaningless = build_parser().parse_known_args(others)
    refuse(meaningless, list(flags))
    args.assignments = [*args.assignments, *bare]
    return args
