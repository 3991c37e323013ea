"""How exactly and how repeatably a run computes is its own matter, whatever another one set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from common.config.run import RunConfig
from common.errors import UserError
from common.runner.scheduling import rank as ranks_of_task
from common.runner.scheduling.task import Task
from common.training.determinism import explained, set_numerics
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.experiment import ControlledExperiment
from tests.common.plans import load, toy
from tests.conftest import TINY_DIGITS, TOY, Workplace, without_seconds
from tests.toy import ToyTrainer


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    set_numerics(RunConfig())


class Rounding(RunConfig):
    """A run that asks for TensorFloat-32."""

    @property
    def tf32(self) -> bool:
        return True


def precision() -> set[Any]:
    """What torch's settings of TensorFloat-32 say, the newer ones and the older."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    newer = {cuda.matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision}
    older = {cuda.matmul.allow_tf32, cudnn.allow_tf32,
             torch.get_float32_matmul_precision() != "highest"}  # fmt: skip
    return newer | older


EXACT: set[Any] = {"ieee", False}
TF32: set[Any] = {"tf32", True}


def determinism() -> tuple[bool, ...]:
    cudnn = torch.backends.cudnn
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    strict = torch.are_deterministic_algorithms_enabled() and not warns
    return strict, cudnn.deterministic, not cudnn.benchmark


def test_products_are_exact_unless_a_run_asks_otherwise() -> None:
    for config, expected in ((Rounding(), TF32), (RunConfig(), EXACT)):
        set_numerics(config)
        assert precision() == expected


@pytest.mark.parametrize("left", ["tf32", "ieee"])
def test_what_a_library_sets_in_general_counts_neither_before_nor_after(left: str) -> None:
    for config, expected in ((RunConfig(), EXACT), (Rounding(), TF32)):
        torch.backends.fp32_precision = left
        set_numerics(config)
        assert precision() == expected
        torch.backends.fp32_precision = left  # as transformers does
        assert precision() == expected


def test_which_controlled_runs_round() -> None:
    rounds = {p: ControlledConfig(precision=p).tf32 for p in ("float32", "tf32", "bf16")}
    assert rounds == {"float32": False, "tf32": True, "bf16": False}


def test_a_run_inherits_nothing_from_the_one_before(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    run = ControlledExperiment.run

    def noted(self: ControlledExperiment) -> float | None:
        found.append((self.config.experiment_name, precision(), determinism()[:2]))
        torch.backends.cudnn.benchmark = True  # what other code may leave behind
        return run(self)

    monkeypatch.setattr(ControlledExperiment, "run", noted)
    keys = {**TINY_DIGITS, "epochs": 1}
    plan = workplace.write_plan(configurations=[
        {"base_config": {**keys, "experiment_name": "first", "precision": "tf32",
                         "deterministic": True}},
        {"base_config": {**keys, "experiment_name": "second"}},
    ])  # fmt: skip
    assert workplace.run_plan(plan).status == 0
    assert found == [("first", TF32, (True, True)), ("second", EXACT, (False, False))]
    set_numerics(RunConfig())
    assert determinism() == (False, False, True)


def test_later_ranks_compute_as_the_first_before_cuda_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Met(Exception):
        pass

    def meet(task: Task) -> tuple[int, int]:
        assert precision() == TF32
        assert determinism()[:2] == (True, True)
        raise Met  # where the first rank and NCCL would be waited for

    monkeypatch.setattr(ranks_of_task, "meet", meet)
    keys = {"precision": "tf32", "deterministic": True}
    task: Any = SimpleNamespace(
        folder="run", run_config=lambda: ControlledConfig.model_validate(keys)
    )
    with pytest.raises(Met):
        ranks_of_task.take_part(task, stop_requested=lambda: False, print_to=lambda path: None)


def test_deterministic_runs_ask_cublas_before_cuda_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "CUBLAS_WORKSPACE_CONFIG"
    monkeypatch.setenv(name, "")
    monkeypatch.delenv(name)
    set_numerics(RunConfig())  # cuBLAS looks once, and a later run may be deterministic
    assert os.environ[name] == ":4096:8"
    monkeypatch.setenv(name, ":16:8")
    set_numerics(RunConfig(deterministic=True))
    assert os.environ[name] == ":16:8"
    monkeypatch.setenv(name, ":0:0")
    set_numerics(RunConfig())
    with pytest.raises(UserError, match=r"'deterministic' = true: .*CUBLAS_WORKSPACE_CONFIG.*:0:0"):
        set_numerics(RunConfig(deterministic=True))


def test_an_operation_without_a_deterministic_algorithm_is_named(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = ToyTrainer.train_step

    def putting(self: ToyTrainer, batch: torch.Tensor) -> Any:
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))  # refused on the CPU too
        return step(self, batch)

    monkeypatch.setattr(ToyTrainer, "train_step", putting)
    plan = workplace.write_plan(
        experiment=TOY, configurations=[toy(), toy(deterministic=True, lr=0.2)]
    )
    assert workplace.run_plan(plan).status == 1
    reasons = {f.read_status().get("reason") for f in workplace.folders()}
    assert {f.read_status()["status"] for f in workplace.folders()} == {"done", "failed"}
    (reason,) = reasons - {None}
    assert reason.startswith("'deterministic' = true: torch has no deterministic algorithm for 'p")
    assert "set it to false" in reason


def test_other_errors_stay_what_they_are() -> None:
    for error in (RuntimeError("out of memory"), ValueError(" does not have a deterministic impl")):
        assert explained(error) is error


def test_deterministic_is_no_part_of_a_runs_identity(tmp_path: Path) -> None:
    plain, told = (load(tmp_path, toy(**keys)).runs[0] for keys in ({}, {"deterministic": True}))
    assert plain.fingerprint == told.fingerprint


def test_deterministic_runs_differ_by_nothing_on_the_cpu(workplace: Workplace) -> None:
    rows = []
    for deterministic in (False, True):
        config = {**TINY_DIGITS, "opt_method": "reinforce", "deterministic": deterministic}
        plan = workplace.write_plan(configurations=[{"base_config": config}])
        assert workplace.run_plan(plan, "--fresh").status == 0
        rows.append(without_seconds(workplace.folders()[0]))
    assert rows[0] == rows[1]


def test_runs_are_trained_together_that_are_alike_in_it() -> None:
    keys = {ControlledConfig(deterministic=value).vectorize_key() for value in (True, False)}
    assert len(keys) == 2
