"""How much memory GPUs have, as nvidia-smi tells it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from common.machine import gpu_memory
from common.machine.gpu_memory import GpuMemory, memory_of, total_memory

ALIKE = "0, GPU-aaaa-1, 81559, 81070\n1, GPU-bbbb-2, 81559, 9\n"
UNLIKE = "0, GPU-aaaa-1, 81559, 81070\n1, GPU-bbbb-2, 24564, 24564\n"
LARGE, SMALL = 81559 * 2**20, 24564 * 2**20

Machine = Callable[[str], None]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Puts an ``nvidia-smi`` on the path that runs a shell script."""
    for name in ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def make(script: str) -> None:
        command = tmp_path / "nvidia-smi"
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)

    return make


def saying(text: str) -> str:
    return f"cat <<'END'\n{text}END"


def test_memory_is_in_bytes_by_the_users_count(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(saying(UNLIKE))
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert total_memory([0, 1]) == {0: LARGE, 1: SMALL}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", " 1 , 0")
    assert total_memory([0, 1]) == {0: SMALL, 1: LARGE}
    assert total_memory([2]) == {}
    assert memory_of([1]) == {1: GpuMemory(LARGE, 81070 * 2**20)}


@pytest.mark.parametrize(("visible", "ids"), [("", []), ("-1", []), ("1,-1,0", [0]), ("0,,1", [0])])
def test_what_follows_a_name_of_no_gpu_is_not_seen(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, visible: str, ids: list[int]
) -> None:
    machine(saying(ALIKE))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert list(total_memory([0, 1, 2])) == ids


def test_uuids_name_gpus_and_slices_have_no_entry(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(saying(UNLIKE))
    monkeypatch.setenv(
        "CUDA_VISIBLE_DEVICES", "GPU-bbbb-2,GPU-aaaa, MIG-cccc-3, MIG-GPU-aaaa-1/0/0"
    )
    assert total_memory(range(4)) == {0: SMALL, 1: LARGE}


def test_unlike_gpus_are_not_told_apart_by_number(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(saying(UNLIKE))
    assert total_memory([0, 1]) == {}  # CUDA may count them the other way round
    machine(saying(ALIKE))
    assert total_memory([0, 1]) == {0: LARGE, 1: LARGE}


@pytest.mark.parametrize(
    "script", ["exit 9", saying("0, GPU-aaaa-1, [N/A], [N/A]\n"), saying("No devices were found\n")]
)
def test_without_an_answer_nothing_is_known(machine: Machine, script: str) -> None:
    machine(script)
    assert total_memory([0]) == {}


def test_a_command_that_hangs_is_given_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("exec sleep 60")
    monkeypatch.setattr(gpu_memory, "_SECONDS", 0.1)
    assert total_memory([0]) == {}


def test_without_the_command_nothing_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert total_memory([0]) == {}
