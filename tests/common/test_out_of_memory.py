"""What is said of runs that do not fit into a GPU's memory."""

from __future__ import annotations

import torch

from common.runner.scheduling.out_of_memory import is_out_of_memory, memory_message
from tests.common.test_devices import SEEING, runs, task_of
from tests.conftest import Workplace
from tests.seeing import FULL


def test_the_message_on_memory_says_what_was_needed_what_held_it_and_what_to_change(
    workplace: Workplace, two_gpus: list[str]
) -> None:  # fmt: skip
    full, next_one = runs([1], [1])
    full["base_config"]["fails"] = "memory"
    plan = workplace.write_plan(experiment=SEEING, configurations=[full, next_one])
    outcome = workplace.run_plan(plan)
    folder, after = workplace.folders()
    assert after.read_status()["status"] == "done"
    assert after.read_status()["pid"] != folder.read_status()["pid"]
    assert folder.read_status()["reason"] == (
        "out of GPU memory (20.00 MiB more, of GPU 1 with 79.11 GiB, 5.06 MiB free; the run held "
        "68.60 GiB (67.00 GiB in tensors, 512.00 MiB reserved), process 4711 held 10.50 GiB): "
        "lower 'size' (8), or give it a GPU of its own ('gpu_ids_pool', 'num_parallel')"
    )
    assert outcome.err.count("out of GPU memory") == 1
    assert "Traceback" not in outcome.err
    assert "expandable_segments" in folder.log.read_text()


def test_memory_that_libraries_miss() -> None:
    cublas = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate()\nat")
    assert is_out_of_memory(cublas)
    assert is_out_of_memory(RuntimeError("CUDA error: out of memory\nCompile with"))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    assert not is_out_of_memory(MemoryError())
    assert memory_message(cublas, task_of({})) == (
        "out of GPU memory (CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate()): "
        "make the run smaller, or give it another GPU"
    )
    of_a_group = memory_message(torch.OutOfMemoryError(FULL), task_of({}), num_together=5)
    assert "of GPU 3 with" in of_a_group
    assert "set 'vectorize' to false, as 5 runs are trained together" in of_a_group
