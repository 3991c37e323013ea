"""Runners as processes of their own, which have their libraries loaded when they start."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

import run_plan
import tests.toy  # noqa: F401

# Not copies of the tests' own process: one that has computed may have threads, which a copy lacks.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


def start_runner(plan: Path, *arguments: str) -> BaseProcess:
    """Starts the program in the plan's folder."""
    process = _PROCESSES.Process(target=_run, args=(plan, *arguments))
    process.start()
    return process


def _run(plan: Path, *arguments: str) -> None:
    os.chdir(plan.parent)
    torch.set_num_threads(1)
    sys.exit(run_plan.main(["--plan_config_path", str(plan), *arguments]))


def ended(*runners: BaseProcess) -> list[int | None]:
    """Their exit statuses."""
    for runner in runners:
        runner.join(120)
    return [runner.exitcode for runner in runners]
