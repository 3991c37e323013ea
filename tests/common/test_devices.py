"""Which GPUs runs see, on a machine that has two; nothing but runs opens one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import UserError
from common.machine.devices import free_memory, gpus_absent, gpus_hidden, names_of, run_device
from common.run.folder import read_json
from common.runner.scheduling.task import Task
from common.runner.scheduling.worker_process import worker_environment
from tests.common.plans import toy
from tests.conftest import TINY_DIGITS, TOY, Workplace

SEEING = "custom:tests.seeing:EXPERIMENT"
PARALLEL: dict[str, Any] = {"multiprocess": True, "num_parallel": 2}


def seen(workplace: Workplace, plan: Path, status: int = 0) -> dict[str, dict[str, Any]]:
    """What each run of the plan saw, with its status."""
    outcome = workplace.run_plan(plan)
    assert outcome.status == status, outcome.err
    return {
        folder.path.name.partition("-")[0]: {
            **read_json(folder.path / "seen.json"), "status": folder.read_status()
        }
        for folder in workplace.folders()
    }  # fmt: skip


def runs(*gpu_ids: list[int], **keys: Any) -> list[dict[str, Any]]:
    """One run a, b, ... for each."""
    return [
        {"base_config": {"experiment_name": name, "gpu_ids": ids, "size": 8 + number, **keys}}
        for number, (name, ids) in enumerate(zip("abcdef", gpu_ids, strict=False))
    ]


@pytest.mark.parametrize(
    ("plan", "named", "expected"),
    [
        ({}, [[1]], [("1", [1])]),
        ({}, [[1, 0]], [("1,0", [1, 0])]),
        ({"gpu_ids_pool": [1]}, [[]], [("1", [1])]),
        ({"gpu_ids_pool": [1]}, [[0]], [("1", [1])]),
        (PARALLEL, [[0], [1], []], [("0", [0]), ("1", [1]), ("", [])]),
        (PARALLEL | {"gpu_ids_pool": [1]}, [[], []], [("1", [1]), ("1", [1])]),
    ],
)
def test_a_run_sees_its_own_gpus_alone(
    workplace: Workplace, two_gpus: list[str], plan: dict[str, Any],
    named: list[list[int]], expected: list[tuple[str, list[int]]],
) -> None:  # fmt: skip
    written = workplace.write_plan(experiment=SEEING, configurations=runs(*named), **plan)
    found = seen(workplace, written)
    assert [(one["visible"], one["gpu_ids"]) for one in found.values()] == expected
    for (_, gpu_ids), one, folder in zip(
        expected, found.values(), workplace.folders(), strict=True
    ):
        assert one["devices"] == list(range(len(gpu_ids)))
        assert one["pid"] != os.getpid()
        device = f"cuda:{','.join(map(str, gpu_ids))}" if gpu_ids else "cpu"
        assert one["status"]["device"] == device
        assert read_json(folder.config)["gpu_ids"] == gpu_ids


def test_slots_that_share_a_gpu_have_a_process_each(
    workplace: Workplace, two_gpus: list[str]
) -> None:  # fmt: skip
    plan = workplace.write_plan(
        experiment=SEEING, configurations=runs([], [], pause=1.0), gpu_ids_pool=[0], **PARALLEL
    )
    found = seen(workplace, plan)
    assert (found["a"]["visible"], found["b"]["visible"]) == ("0", "0")
    assert found["a"]["pid"] != found["b"]["pid"]


def test_workers_are_used_again_by_runs_of_the_same_gpus_alone(
    workplace: Workplace, two_gpus: list[str]
) -> None:  # fmt: skip
    named = runs([0], [0], [], [0], [1], [1])
    found = seen(workplace, workplace.write_plan(experiment=SEEING, configurations=named))
    assert [found[name]["visible"] for name in "abcdef"] == ["0", "0", "", "0", "1", "1"]
    pids = [found[name]["pid"] for name in "abcdef"]
    assert pids[0] == pids[1]
    assert pids[4] == pids[5]
    assert len(set(pids)) == 4


def test_a_process_without_a_run_holds_no_gpu(
    workplace: Workplace, two_gpus: list[str]
) -> None:  # fmt: skip
    short, long = runs([0], [1])
    long["base_config"]["waits_for"] = "a"
    plan = workplace.write_plan(experiment=SEEING, configurations=[short, long], **PARALLEL)
    assert seen(workplace, plan)["b"]["was_gone"]


def test_runs_on_the_cpu_need_no_process_and_see_no_gpu(
    workplace: Workplace, two_gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    plan = workplace.write_plan(experiment=SEEING, configurations=runs([]))
    found = seen(workplace, plan)["a"]
    assert (found["pid"], found["visible"], found["devices"]) == (os.getpid(), "", [])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"


@pytest.mark.parametrize("vectorize", [False, True])
def test_controlled_runs_on_the_cpu_leave_gpus_alone(
    workplace: Workplace, two_gpus: list[str], vectorize: bool
) -> None:
    configuration = {"base_config": TINY_DIGITS, "seeds": [1, 2]}
    plan = workplace.write_plan(configurations=[configuration], vectorize=vectorize)
    assert workplace.run_plan(plan).status == 0


def test_a_run_that_fails_on_a_gpu_takes_its_process_with_it(
    workplace: Workplace, two_gpus: list[str]
) -> None:  # fmt: skip
    bad, good = runs([1], [1])
    bad["base_config"]["fails"] = "assert"
    plan = workplace.write_plan(experiment=SEEING, configurations=[bad, good])
    found = seen(workplace, plan, status=1)
    assert [found[name]["status"]["status"] for name in "ab"] == ["failed", "done"]
    assert found["a"]["pid"] != found["b"]["pid"]


@pytest.mark.parametrize("fails", ["no", "assert", "memory"])
def test_nothing_of_an_ended_run_stays(workplace: Workplace, fails: str) -> None:
    first, second = runs([], [])
    first["base_config"]["fails"] = fails
    plan = workplace.write_plan(
        experiment=SEEING, configurations=[first, second], multiprocess=True
    )
    found = seen(workplace, plan, status=int(fails != "no"))
    assert found["a"]["pid"] == found["b"]["pid"]
    assert found["b"]["left_over"] == 0


def task_of(config: dict[str, Any], gpu_ids: tuple[int, ...] = (3,)) -> Task:
    return Task("run", {}, "", "", None, "tests.toy:ToyConfig", config, "step", 1, gpu_ids)


@pytest.mark.parametrize(
    ("visible", "names", "count"),
    [
        (None, ["0", "1"], 2),
        ("1", ["1"], 1),
        ("1, 0", ["1", "0"], 2),
        ("GPU-bbbb, GPU-aaaa", ["GPU-bbbb", "GPU-aaaa"], 2),
        ("MIG-1, MIG-2", ["MIG-1", "MIG-2"], 2),
        ("0,-1,1", ["0"], 1),
        ("", [], 0),
        ("-1", [], 0),
    ],
)
def test_plans_count_the_gpus_that_the_user_lets_them_see(
    two_gpus: list[str], monkeypatch: pytest.MonkeyPatch,
    visible: str | None, names: list[str], count: int,
) -> None:  # fmt: skip
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    for gpu, name in enumerate(names):
        assert names_of([gpu]) == worker_environment([gpu], 1)["CUDA_VISIBLE_DEVICES"] == name
    assert names_of(range(count)) == ",".join(names)
    assert worker_environment([], 1)["CUDA_VISIBLE_DEVICES"] == ""
    if count == 0:
        absent = gpus_absent([0])
        assert absent is not None and absent.computes_on_cpu
        assert absent.message.startswith(f"CUDA_VISIBLE_DEVICES = '{visible}' shows none: the CPU")
        return
    assert gpus_absent(range(count)) is None
    whose = "this machine has" if visible is None else f"CUDA_VISIBLE_DEVICES = '{visible}' shows"
    absent = gpus_absent([0, count])
    assert absent is not None and not absent.computes_on_cpu
    assert absent.ids == {count}
    assert absent.message.startswith(f"{whose} GPU")


def test_a_gpu_beyond_what_the_user_shows_is_refused_before_the_start(
    workplace: Workplace, two_gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    outcome = workplace.run_plan(
        workplace.write_plan(experiment=SEEING, configurations=runs([0], [1]))
    )
    assert outcome.status == 2
    assert "'gpu_ids' = [1]: CUDA_VISIBLE_DEVICES = '1' shows GPU 0 alone; name it" in outcome.err
    assert workplace.files() == []


def test_a_gpu_named_twice_is_refused(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(gpu_ids=[1, 1])])
    assert "'gpu_ids' = [1, 1]: names 1 twice" in workplace.run_plan(plan).err
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    outcome = workplace.run_plan(plan, "--gpu_ids", "0", "0")
    assert outcome.status == 2
    assert "'gpu_ids_pool' = [0, 0]: names 0 twice" in outcome.err


def test_hidden_gpus_are_as_none(two_gpus: list[str]) -> None:
    assert torch.cuda.is_available()
    with gpus_hidden():
        assert (torch.cuda.is_available(), torch.cuda.device_count()) == (False, 0)
    assert torch.cuda.is_available()
    assert {"CUDA_VISIBLE_DEVICES", "PYTORCH_NVML_BASED_CUDA_CHECK"}.isdisjoint(os.environ)


def test_a_worker_sees_one_gpu_of_two(
    two_gpus: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", worker_environment([1], 1)["CUDA_VISIBLE_DEVICES"])
    assert torch.cuda.device_count() == 1
    assert run_device((0,)) == torch.device("cuda:0")


def test_a_gpu_that_torch_cannot_use_is_not_replaced_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert run_device(()) == torch.device("cpu")
    with pytest.raises(UserError, match="torch cannot use it"):
        run_device((0,))


def _broken() -> None:
    raise RuntimeError("CUDA error: device-side assert triggered")


@pytest.mark.parametrize("is_broken", [False, True])
def test_memory_is_freed_where_a_gpu_is_in_use(
    monkeypatch: pytest.MonkeyPatch, is_broken: bool
) -> None:
    calls: list[str] = []
    empty: Callable[[], Any] = _broken if is_broken else lambda: calls.append("emptied")
    monkeypatch.setattr("torch.cuda.empty_cache", empty)
    free_memory()
    assert calls == []
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr("gc.collect", lambda: calls.append("collected"))
    free_memory()
    assert calls == (["collected"] if is_broken else ["collected", "emptied"])


@pytest.mark.parametrize("fails", ["no", "memory"])
def test_a_worker_frees_its_gpu_before_its_run_has_ended(
    workplace: Workplace, two_gpus: list[str], fails: str
) -> None:
    named = runs([1], opens_gpu=True, fails=fails)
    workplace.run_plan(workplace.write_plan(experiment=SEEING, configurations=named))
    (folder,) = workplace.folders()
    assert (folder.path / "emptied").exists()


def test_tasks_travel_as_they_are() -> None:
    from common.runner.scheduling.task import from_line, to_line

    task = task_of({"gpu_ids": [3, 5]}, (3, 5))
    assert from_line(to_line([task])) == [task]
    assert json.loads(to_line([task]))[0]["gpu_ids"] == [3, 5]
    assert (task.device_ids, task.gpu_id(1)) == ((0, 1), 5)
