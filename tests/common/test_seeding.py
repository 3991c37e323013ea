"""Random states: a run's own, of the CPU and of its GPUs, wherever it goes on."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.experiment import Context
from common.run.folder import RunFolder
from common.training import checkpoint
from common.training.seeding import (
    RngStream,
    random_state,
    restore_random_state,
    seed_everything,
    undisturbed,
)
from tests.gpu_generators import GpuGenerators
from tests.toy import ToyConfig, ToyExperiment


def through_a_file(state: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    checkpoint.save(tmp_path / "state.pt", state)
    return checkpoint.load(tmp_path / "state.pt")


def test_random_states_are_plain_and_come_back(tmp_path: Path) -> None:
    seed_everything(3)
    np.random.randn()  # leaves half a pair behind, which is part of the state
    state = through_a_file(random_state(), tmp_path)
    draws = random.random(), np.random.randn(), np.random.rand(), torch.rand(1).item()
    restore_random_state(state)
    assert (random.random(), np.random.randn(), np.random.rand(), torch.rand(1).item()) == draws


def test_what_others_draw_is_not_noticed() -> None:
    seed_everything(3)
    draws = random.random(), np.random.rand(), torch.rand(1).item()
    seed_everything(3)
    with undisturbed():
        random.random(), np.random.rand(), torch.rand(1)
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == draws


def test_what_others_draw_on_a_runs_gpus_is_not_noticed_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = GpuGenerators(3, monkeypatch)
    before = [generator.get_state() for generator in gpus.generators]
    with undisturbed([0, 2]):
        for gpu in range(3):
            gpus.draw(gpu)
    moved = [not torch.equal(generator.get_state(), state)
             for generator, state in zip(gpus.generators, before, strict=True)]  # fmt: skip
    assert moved == [False, True, False]
    assert gpus.asked == {0, 2}


@pytest.mark.parametrize(("then", "now"), [([0], [0]), ([1], [0]), ([0], [2]), ([1, 2], [0, 1])])
def test_a_runs_gpus_go_on_whatever_numbers_they_have(
    then: list[int], now: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpus = GpuGenerators(3, monkeypatch)
    state = through_a_file(random_state(then), tmp_path)
    assert gpus.asked == set(then)
    draws = [gpus.draw(gpu) for gpu in then]
    elsewhere = GpuGenerators(1 + max(now), monkeypatch)
    restore_random_state(state, now)
    assert [elsewhere.draw(gpu) for gpu in now] == draws
    assert elsewhere.asked == set(now)


def test_a_run_goes_from_the_cpu_to_a_gpu_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = GpuGenerators(1, monkeypatch)
    on_cpu, on_gpu = random_state(), random_state([0])
    next_on_cpu = torch.rand(1).item()
    gpus.asked.clear()
    restore_random_state(on_gpu)  # now on the CPU
    assert not gpus.asked
    assert torch.rand(1).item() == next_on_cpu
    undrawn = gpus.generators[0].get_state()
    restore_random_state(on_cpu, [0])  # now on the GPU, which keeps its stream
    assert torch.equal(gpus.generators[0].get_state(), undrawn)
    assert torch.rand(1).item() == next_on_cpu


@pytest.mark.parametrize(("then", "now"), [([0, 1], [0]), ([0], [0, 1])])
def test_with_another_number_of_gpus_those_in_common_go_on(
    then: list[int], now: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = GpuGenerators(2, monkeypatch)
    state = random_state(then)
    (first, second) = (gpus.draw(gpu) for gpu in (0, 1))
    gpus.draw(1)
    restore_random_state(state, now)
    assert gpus.draw(0) == first
    assert gpus.draw(1) != second


def test_checkpoints_with_the_states_of_all_gpus_that_were_visible_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpus = GpuGenerators(1, monkeypatch)
    former = {
        **random_state(),
        "cuda": [torch.Generator().manual_seed(n).get_state() for n in (1, 2)],
    }
    restore_random_state(former, [0])
    assert torch.equal(gpus.generators[0].get_state(), former["cuda"][0])


def test_streams_of_fits_that_share_a_gpu_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = GpuGenerators(2, monkeypatch)

    def draws() -> tuple[float, float]:
        return torch.rand(1).item(), gpus.draw(1)

    alone = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        gpus.generators[1].manual_seed(seed)
        alone.append([draws() for _ in range(3)])
    streams = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        gpus.generators[1].manual_seed(seed)
        streams.append(RngStream([1]))
    found: list[list[tuple[float, float]]] = [[], []]
    for _ in range(3):
        for stream, own in zip(streams, found, strict=True):
            with stream.active():
                own.append(draws())
    assert found == alone
    assert gpus.asked == {1}
    restore_random_state(streams[0].state(), [1])  # as a fit that goes on alone
    expected = draws()
    with streams[0].active():
        assert draws() == expected


def test_a_fits_checkpoint_holds_the_states_of_its_own_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpus = GpuGenerators(3, monkeypatch)
    monkeypatch.setattr("common.training.stepwise_run.run_gpus", lambda ids: tuple(ids))
    monkeypatch.setattr("common.training.stepwise_run.run_device", lambda ids: torch.device("cpu"))
    config = ToyConfig(epochs=2, random_seed=1)

    def made(gpu: int) -> ToyExperiment:
        return ToyExperiment(config, Context(RunFolder(tmp_path), seed=1, gpu_ids=(gpu,)))

    first = made(2)
    first.prepare()
    first.measure_start()  # writes a checkpoint
    first.close()
    state = checkpoint.load_last(tmp_path / "checkpoints")
    assert state is not None
    (own,) = state["random"]["cuda"]
    assert torch.equal(own, gpus.generators[2].get_state())
    expected = gpus.draw(2)
    made(0).prepare()
    assert gpus.draw(0) == expected
    assert gpus.asked == {0, 2}
