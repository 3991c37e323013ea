"""A folder with plans, which programs run: killed, stopped, started again."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from common.run.folder import RunFolder
from tests.conftest import Outcome, without_seconds
from tests.programs import PROJECT, Program

_PATIENCE = 300.0  # seconds


@dataclass
class Site:
    """A folder in which `run_plan.py` is started as a program, with these keys in every plan."""

    path: Path
    keys: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    patience: float = _PATIENCE
    """Seconds in which a program ends."""

    def write_plan(self, name: str, **document: Any) -> Path:
        path = self.path / f"{name}.json"
        path.write_text(json.dumps({"report": False, **self.keys, **document}))
        return path

    def start(self, plan: Path, *arguments: str) -> Program:
        """Starts the program; what it says is read by `outcome`."""
        environment = {**os.environ, "PYTHONPATH": python_path(), "OMP_NUM_THREADS": "1"}
        given = ["--plan_config_path", str(plan), *arguments]
        return Program(given, self.path, {**environment, **self.environment})

    def gate(self, plan: str) -> Path:
        """A file for which the plan's runs wait that name it."""
        return self.path / f"{plan}.gate"

    def run_plan(self, plan: Path, *arguments: str) -> Outcome:
        return outcome(self.start(plan, *arguments), self.patience)

    def folder(self, plan: str) -> Path:
        return self.path / "outputs/exps" / plan

    def runs(self, plan: str) -> dict[str, RunFolder]:
        """The folders of runs that have begun, by the runs' names."""
        found = sorted(self.folder(plan).glob("*/status.json"))
        return {path.parent.name.rpartition("-")[0]: RunFolder(path.parent) for path in found}

    def statuses(self, plan: str) -> dict[str, dict[str, Any]]:
        return {name: run.read_status() for name, run in self.runs(plan).items()}

    def index(self, plan: str) -> dict[str, str]:
        """The states of all runs in ``index.csv``, by their names."""
        with (self.folder(plan) / "index.csv").open(newline="") as file:
            return {row["name"]: row["status"] for row in csv.DictReader(file)}

    def unfinished(self, plan: str) -> list[str]:
        """What is half written."""
        return [str(path) for path in self.folder(plan).rglob("*.tmp")]


def python_path() -> str:
    """The project, and where this process finds packages besides."""
    return os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)


def outcome(process: Program, patience: float = _PATIENCE) -> Outcome:
    """How the program ends; it is killed if it takes too long."""
    try:
        out, err = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Outcome(process.returncode, out, err)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def num_rows(folder: RunFolder) -> int:
    """How many rows of metrics a run has written."""
    return folder.metrics.read_bytes().count(b"\n") if folder.metrics.exists() else 0


def results(folder: RunFolder) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Metrics and weights of a fit, to the bit."""
    state = torch.load(folder.checkpoints / "last.pt", weights_only=True)
    weights = {name: tensor.numpy().tobytes() for name, tensor in state["model"].items()}
    return without_seconds(folder), weights
