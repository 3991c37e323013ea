"""An attempt that takes longer than its limit is ended, and lost."""

from __future__ import annotations

import os
from typing import Any

import pytest

from common.runner.scheduling.executor import Executor
from common.runner.scheduling.executors import executor_of
from common.runner.scheduling.fork_server import ForkServer
from tests.common.plans import toy
from tests.common.test_endings import HOSTILE, ends
from tests.conftest import TOY, Workplace, without_seconds


def test_a_run_that_hangs_is_ended_and_has_failed(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.runner.scheduling.time_limit._GRACE", 0.5)
    limited = {**_acting("in C"), "timeout_minutes": 0.05}
    plan = workplace.write_plan(
        experiment=HOSTILE, configurations=[limited, _acting("")], max_attempts=1
    )
    outcome = workplace.run_plan(plan)
    assert outcome.status == 1
    found = ends(workplace)
    assert found["inC"]["reason"] == "no end within 'timeout_minutes' = 0.05 (1 attempt)"
    assert (found["inC"]["status"], found["inC"]["lost"]) == ("failed", 1)
    assert found["exp"]["status"] == "done"


@pytest.mark.skipif(not ForkServer.is_possible(), reason="needs Linux 5.3")
def test_a_run_with_a_limit_gets_a_worker_that_has_been_warmed_up(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers: list[Any] = []

    def noting(*arguments: Any, **options: Any) -> Executor:
        servers.append(options["server"])
        return executor_of(*arguments, **options)

    monkeypatch.setattr("common.runner.main.executor_of", noting)
    limited = {**toy(), "timeout_minutes": 5}
    plan = workplace.write_plan(experiment=TOY, configurations=[limited])
    assert workplace.run_plan(plan).status == 0
    assert isinstance(servers[0], ForkServer)


def _acting(act: str) -> dict[str, Any]:
    return {"base_config": {"experiment_name": "{act}", "act": act}}


@pytest.mark.slow
def test_a_run_at_its_limit_writes_a_checkpoint_and_goes_on(workplace: Workplace) -> None:
    long = toy(epochs=100, pause=0.2, random_seed=1)
    long["timeout_minutes"] = 0.25
    plan = workplace.write_plan(experiment=TOY, configurations=[long], max_attempts=9)
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0, outcome.err
    assert "no end within 'timeout_minutes' = 0.25; it is continued" in outcome.err
    (folder,) = workplace.folders()
    found = folder.read_status()
    assert found["attempt"] == found["lost"] + 1 > 1
    assert found["pid"] != os.getpid()

    quick = workplace.write_plan(
        "quick", experiment=TOY, configurations=[toy(epochs=100, random_seed=1)]
    )
    assert workplace.run_plan(quick).status == 0
    assert without_seconds(folder) == without_seconds(workplace.folders("quick")[0])
