"""Runs that are stopped and go on, beside runs that are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from common.run.folder import RunFolder
from tests.conftest import Workplace, without_seconds
from tests.grue.conftest import write
from tests.grue.parts import SIGNALLING


def stopped_and_whole(
    workplace: Workplace,
    make: Callable[..., dict[str, Any]],
    *,
    signal: str = "SIGINT",
    threads: int = 1,
) -> tuple[RunFolder, RunFolder]:
    """A run that is stopped in its third scoring and goes on, and one that is not stopped.

    ``make(experiment_name=..., train_evaluation__metrics=...)`` gives a run. Their metrics are
    equal. They compute with so many threads.
    """
    runs = []
    for name in ("stopped", "whole"):
        args = {"marker": str(workplace.path / name), "signal": signal, "calls": 3}
        metrics = [{"id": SIGNALLING, "args": args}]
        runs.append(make(experiment_name=name, train_evaluation__metrics=metrics))
    (workplace.path / "whole").touch()  # this one is never stopped
    killed = {"multiprocess": True, "num_parallel": 1} if signal == "SIGKILL" else {}
    plan = write(workplace, *runs, num_threads=threads, **killed)
    status = workplace.run_plan(plan).status
    if signal == "SIGINT":
        assert status == 130
        status = workplace.run_plan(plan).status
    assert status == 0
    stopped, whole = workplace.folders()
    assert stopped.read_status()["attempt"] == 2
    assert without_seconds(stopped) == without_seconds(whole)
    return stopped, whole


def assert_equal_models(one: RunFolder, two: RunFolder) -> None:
    """The causal models of two runs have equal weights."""
    ours, theirs = (
        AutoModelForCausalLM.from_pretrained(folder.path / "model").state_dict()
        for folder in (one, two)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
