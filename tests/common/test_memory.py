"""Runs that do not fit into their GPUs' memory: refused or warned of before they start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from common.experiment import EXPERIMENTS
from common.machine.memory import Moment, Need, Term, by_counts
from common.plan.load import load_plan
from common.plan.run import Plan, Run
from common.runner import memory_check as memory
from tests import toy
from tests.conftest import TINY_DIGITS, Workplace

GIBI = 2**30
HUNGRY = "custom:tests.common.test_memory:EXPERIMENT"


def needs(runs: Sequence[Run]) -> list[Need | None]:
    """Each run needs as many GiB as it has epochs, half of them whatever the data are."""
    return [_need(run.config.epochs * GIBI) for run in runs]  # type: ignore[attr-defined]


def _need(size: int) -> Need | None:
    weights = Term("weights", size // 4, size // 4, "lr", "take a smaller 'lr'")
    logits = Term("logits", size // 2, size // 4 + 1, "epochs", "lower 'epochs'")
    rest = Term("activations", size // 4, 0, "epochs", "lower 'epochs'")
    return [Moment("a rest", (weights,)), Moment("an update", (weights, logits, rest))]


EXPERIMENT = replace(toy.EXPERIMENT, memory="tests.common.test_memory:needs")


@pytest.fixture(autouse=True)
def _gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """GPUs 0 and 1 of 80 and 40 GiB; what GPU 2 has is not told."""
    sizes = {0: 80 * GIBI, 1: 40 * GIBI}
    monkeypatch.setattr(
        memory, "total_memory", lambda ids: {gpu: sizes[gpu] for gpu in ids if gpu in sizes}
    )
    monkeypatch.setattr("common.runner.preflight.gpus_absent", lambda ids: None)


def plan_of(workplace: Workplace, epochs: list[int], **document: Any) -> Plan:
    configurations = [{"base_config": {"random_seed": 1, "epochs": count}} for count in epochs]
    path = workplace.write_plan(experiment=HUNGRY, configurations=configurations, **document)
    return load_plan(path, EXPERIMENTS)


def found(plan: Plan) -> list[str]:
    return [f"{problem.where}: {problem}" for problem in memory.check(plan, plan.runs)]


def test_what_cannot_fit_is_refused_before_anything_is_written(workplace: Workplace) -> None:
    plan = plan_of(workplace, [200], gpu_ids_pool=[0])
    outcome = workplace.run_plan(plan.source)
    assert outcome.status == 2
    assert (
        "configurations[0]:\n  'epochs' = 200: an update needs at least 100 GiB (logits 50, "
        "weights 50), and GPU 0 has 80; lower 'epochs', or take a smaller 'lr'"
    ) in outcome.err
    assert workplace.files() == []


def test_what_may_not_fit_is_warned_of_once(
    workplace: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of(workplace, [120, 10], gpu_ids_pool=[0], repetitions=2)
    assert found(plan) == []
    (warning,) = caplog.messages
    assert warning == (
        "configurations[0]: exp may need up to 120 GiB for an update (logits 60, weights 30, "
        "activations 30), and GPU 0 has 80; if it runs out of memory, lower 'epochs', or take a "
        "smaller 'lr'"
    )


def test_a_run_is_refused_by_the_largest_gpu_and_warned_of_the_smallest(
    workplace: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    plan = plan_of(workplace, [90], gpu_ids_pool=[0, 1])
    assert found(plan) == []  # at least 45: GPU 0 holds it
    assert "GPU 1 has 40" in caplog.text
    (problem,) = found(plan_of(workplace, [161], gpu_ids_pool=[0, 1]))
    assert "GPU 0 has 80" in problem


@pytest.mark.parametrize("document", [{}, {"gpu_ids_pool": [2]}, {"gpu_ids_pool": [0, 2]}])
def test_without_known_memory_nothing_is_said(
    workplace: Workplace, caplog: pytest.LogCaptureFixture, document: dict[str, Any]
) -> None:
    assert found(plan_of(workplace, [500], **document)) == []
    assert caplog.messages == []


def test_a_runs_own_gpu_is_looked_at(workplace: Workplace) -> None:
    (problem,) = found(plan_of(workplace, [100], set={"gpu_ids": [1]}))
    assert "GPU 1 has 40" in problem


def test_runs_on_the_cpu_are_not_asked(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "import_part", lambda path: pytest.fail("asked"))
    plan = plan_of(workplace, [1])
    assert workplace.run_plan(plan.source).status == 0


def test_slots_on_one_gpu_add_up(workplace: Workplace, caplog: pytest.LogCaptureFixture) -> None:
    several = {"gpu_ids_pool": [0], "multiprocess": True, "num_parallel": 2}
    assert found(plan_of(workplace, [50, 30, 20], **several)) == []
    assert caplog.messages == []
    assert found(plan_of(workplace, [50, 31, 20], **several)) == []
    (warning,) = caplog.messages
    assert warning == (
        "2 runs at a time on GPU 0 may need up to 81 GiB together, and it has 80; if they run out "
        "of memory, lower 'num_parallel'"
    )


def test_slots_add_up_on_the_runs_own_gpus(
    workplace: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    configurations = [
        {"base_config": {"random_seed": 1, "epochs": epochs, "gpu_ids": [gpu]}}
        for epochs, gpu in ((50, 0), (32, 1), (10, 1))
    ]
    several = {"experiment": HUNGRY, "multiprocess": True, "num_parallel": 2}
    path = workplace.write_plan(configurations=configurations, **several)
    assert found(load_plan(path, EXPERIMENTS)) == []
    (warning,) = caplog.messages
    assert "2 runs at a time on GPU 1 may need up to 42 GiB together, and it has 40" in warning


def test_runs_trained_together_add_up(
    workplace: Workplace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = workplace.write_plan(
        vectorize=True, gpu_ids_pool=[0],
        configurations=[{"base_config": TINY_DIGITS, "options": {"lr": [0.1, 0.2, 0.3]}}],
    )  # fmt: skip
    monkeypatch.setattr(memory, "import_part", lambda path: lambda runs: [_need(30 * GIBI)] * 3)
    plan = load_plan(path, EXPERIMENTS)
    assert found(plan) == []
    (warning,) = caplog.messages
    assert "may need up to 90 GiB" in warning


def test_numbers_that_are_no_counts_do_not_tell_runs_apart() -> None:
    one = {"lr": 0.1, "coef": 0.0, "sizes": [1, 2], "inner": {"share": 0.5}}
    assert by_counts(one) == by_counts({**one, "lr": 0.2, "inner": {"share": 0.1}})
    for change in ({"coef": 0.1}, {"sizes": [1, 3]}, {"lr": 1}):
        assert by_counts(one) != by_counts({**one, **change})


def test_gib_have_two_digits() -> None:
    shown = [memory._gib(size) for size in (0, GIBI // 10, 9 * GIBI, 93 * GIBI + GIBI // 2)]
    assert shown == ["0.0", "0.1", "9.0", "94"]
