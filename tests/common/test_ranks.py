"""Plans that give runs several processes: what is refused, and how work is shared out."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from common import distributed
from common.plan.document import PlanDocument
from common.plan.resources import slots_of
from common.runner.scheduling.task import Task
from common.runner.scheduling.worker_group import WorkerGroup, gpus_of_slots
from tests.common.plans import toy
from tests.conftest import TOY, Workplace


def test_experiments_of_one_process_are_refused(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()], gpus_per_run=2)
    outcome = workplace.run_plan(plan)
    assert outcome.status == 2
    assert "'gpus_per_run' = 2: runs of this experiment are made by one process" in outcome.err
    assert workplace.files() == []


def test_a_configuration_says_otherwise_than_its_plan(workplace: Workplace) -> None:
    configuration = {**toy(), "gpus_per_run": 1}
    plan = workplace.write_plan(experiment=TOY, configurations=[configuration], gpus_per_run=2)
    assert workplace.run_plan(plan, "--dry_run").status == 0


@pytest.mark.parametrize(
    ("keys", "configuration", "message"),
    [
        ({"gpu_ids_pool": [3]}, {}, "'gpus_per_run' = 2: 2 GPUs needed, 1 GPU in 'gpu_ids_pool';"),
        ({"gpu_ids_pool": [0, 1, 2], "multiprocess": True, "num_parallel": 2}, {},
         "'gpus_per_run' = 2: 4 GPUs needed, 3 GPUs in 'gpu_ids_pool' and 'num_parallel' = 2"),
        ({}, {"gpu_ids": [0]}, "'gpus_per_run' = 2: 2 GPUs needed, 1 GPU in 'gpu_ids'; name more"),
    ],
)  # fmt: skip
def test_too_few_gpus(
    workplace: Workplace, keys: dict[str, Any], configuration: dict[str, Any], message: str
) -> None:
    plan = workplace.write_plan(
        experiment=TOY, configurations=[toy(**configuration)], gpus_per_run=2, **keys
    )
    outcome = workplace.run_plan(plan)
    assert outcome.status == 2
    assert message in outcome.err


@pytest.mark.parametrize(
    ("keys", "most_ranks", "slots"),
    [
        ({}, 1, 1),
        ({"num_parallel": 3}, 1, 1),
        ({"num_parallel": 3, "multiprocess": True}, 1, 3),
        ({"gpu_ids_pool": [0, 1]}, 1, 2),
        ({"gpu_ids_pool": [0, 1], "runs_per_gpu": 3}, 1, 6),
        ({"gpu_ids_pool": [0, 1, 2, 3, 4], "runs_per_gpu": 3}, 2, 6),
        ({"gpu_ids_pool": [0, 1], "runs_per_gpu": 3, "num_parallel": 1}, 1, 1),
    ],
)
def test_gpus_have_as_many_slots_as_runs_may_share_them(
    keys: dict[str, Any], most_ranks: int, slots: int
) -> None:
    document = PlanDocument(configurations=({},), **keys)
    assert slots_of(document, most_ranks) == slots
    on_cpu = slots_of(document, most_ranks, use_gpus=False)
    assert on_cpu == (document.num_parallel if document.multiprocess else 1)


@pytest.mark.parametrize(
    ("slots", "runs_per_gpu", "is_refused"), [(4, 2, False), (5, 2, True), (9, None, False)]
)
def test_more_runs_than_gpus_may_share_are_refused(
    workplace: Workplace, slots: int, runs_per_gpu: int | None, is_refused: bool
) -> None:
    shares = {} if runs_per_gpu is None else {"runs_per_gpu": runs_per_gpu}
    plan = workplace.write_plan(
        experiment=TOY, configurations=[toy()], gpu_ids_pool=[0, 1],
        multiprocess=True, num_parallel=slots, **shares,
    )  # fmt: skip
    outcome = workplace.run_plan(plan, "--dry_run")
    assert (outcome.status == 2) == is_refused
    told = (
        "'num_parallel' = 5: 2 GPUs in 'gpu_ids_pool' with 'runs_per_gpu' = 2 have room for 4 runs"
    )
    assert (told in outcome.err) == is_refused


def test_every_slot_has_its_own_gpus() -> None:
    assert gpus_of_slots(2, [4, 5, 6, 7, 8], 2) == [[4, 5], [6, 7]]
    assert gpus_of_slots(3, [4, 5], 1) == [[4], [5], [4]]
    assert gpus_of_slots(2, (), 2) == [(), ()]


@pytest.mark.parametrize(
    ("named", "of_slot", "seen"), [((3, 5), (), [3, 5]), ((0,), (6, 7), [6, 7]), ((), (), None)]
)
def test_every_rank_sees_one_gpu(
    monkeypatch: pytest.MonkeyPatch, named: tuple[int, ...], of_slot: tuple[int, ...],
    seen: list[int] | None,
) -> None:  # fmt: skip
    given: list[tuple[tuple[int, ...], Task]] = []

    class Worker:
        def __init__(self, gpu_ids: tuple[int, ...], threads: int, server: None) -> None:
            self.gpu_ids = gpu_ids

        def give(self, tasks: list[Task]) -> None:
            given.append((self.gpu_ids, tasks[0]))

        def close(self) -> None:
            pass

    monkeypatch.setattr("common.runner.scheduling.worker_group.WorkerProcess", Worker)
    task = Task("run", {}, "", "", None, "", {"gpu_ids": list(named)}, "step", 1, named,
                num_ranks=2)  # fmt: skip
    team = WorkerGroup(task, of_slot, 1)
    team.start([task])
    assert [gpus for gpus, _ in given] == ([(gpu,) for gpu in seen] if seen else [(), ()])
    for rank, (gpus, part) in enumerate(given):
        assert (part.rank, part.gpu_ids) == (rank, gpus)
        assert part.config["gpu_ids"] == (seen or [])
        assert part.device_ids == ((0,) if seen else ())
    assert team.fits(task)
    assert not team.fits(replace(task, num_ranks=1))
    team.close()


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_rank_that_takes_a_while_to_die_has_caused_the_failure_of_the_first(
    monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    now = [0.0]

    class Worker:
        def __init__(self, *_: Any) -> None:
            self.is_last = False

        def is_gone_within(self, seconds: float) -> bool:
            now[0] += seconds
            return self.is_last and is_gone and now[0] > 1.0

        def close(self) -> None:
            pass

    def sleep(seconds: float) -> None:
        now[0] += seconds

    clock = SimpleNamespace(monotonic=lambda: now[0], sleep=sleep)
    monkeypatch.setattr("common.runner.scheduling.worker_group.time", clock)
    monkeypatch.setattr("common.runner.scheduling.worker_group.WorkerProcess", Worker)
    task = Task("run", {}, "", "", None, "", {}, "step", 1, num_ranks=8)
    team: Any = WorkerGroup(task, (), 1)
    team.workers[-1].is_last = True
    assert team.lost() == (team.workers[-1] if is_gone else None)
    team.close()


def test_parts_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    for size in range(8):
        shared, dealt = [], []
        for rank in range(3):
            monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
            shared += range(size)[distributed.shard_slice(size)]
            dealt += distributed.round_robin(range(size))
        assert shared == sorted(dealt) == list(range(size))


def test_one_process_has_everything() -> None:
    values = torch.ones(2)
    assert (distributed.world_size(), distributed.rank(), distributed.is_main()) == (1, 0, True)
    assert distributed.all_gather([1, 2]) == [1, 2]
    assert distributed.all_reduce_sum(values) is values
