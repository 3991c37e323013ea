"""Controlled runs do without operations that have no deterministic algorithm on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from common.config.run import RunConfig
from common.experiment import Context
from common.run.folder import RunFolder
from common.training.determinism import set_numerics
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.models.build import vision_model
from sft_vs_rft.models.pooling import AveragePool
from tests.conftest import TINY_DIGITS, Workplace
from tests.refusing import RefusingGpu
from tests.sft_vs_rft.conftest import stsb


@pytest.fixture(autouse=True)
def _deterministic() -> Iterator[None]:
    set_numerics(RunConfig(deterministic=True))
    yield
    set_numerics(RunConfig())


@pytest.mark.parametrize("method", ["supervised", "reinforce", "expected_reinforce"])
def test_runs_together_and_alone(workplace: Workplace, method: str) -> None:
    config = {**TINY_DIGITS, "opt_method": method, "kl_regularization_coeff": 0.1,
              "theory_every": 1, "deterministic": True}  # fmt: skip
    for vectorize in (False, True):
        plan = workplace.write_plan(
            vectorize=vectorize, configurations=[{"base_config": config, "seeds": [1, 2]}]
        )
        with RefusingGpu():
            assert workplace.run_plan(plan, "--fresh").status == 0


def test_bert(bert: str, pairs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    made = ControlledExperiment(stsb(bert, pairs, epochs=1), Context(RunFolder(folder), seed=1))
    with RefusingGpu():
        made.run()


@pytest.mark.parametrize("model_type", ["resnet18", "vgg11", "densenet121", "googlenet"])
def test_vision_models(model_type: str) -> None:
    with torch.device("meta"):  # which operations are called, not what they give
        model = vision_model(model_type, (3, 32, 32), 4)
        images = torch.empty(2, 3, 32, 32)
    with RefusingGpu():
        model(images).square().mean().backward()
    assert all(param.grad is not None for param in model.parameters())


def test_torchs_pooling_would_be_refused() -> None:
    pool: Any = torch.nn.AdaptiveAvgPool2d((7, 7))
    images = torch.randn(2, 3, 5, 5, requires_grad=True)
    with RefusingGpu(), pytest.raises(RuntimeError, match="does not have a deterministic"):
        pool(images).sum().backward()


@pytest.mark.parametrize("sides", [(1, 1), (5, 9), (7, 7), (14, 21), (30, 8)])
def test_average_pooling_is_torchs(sides: tuple[int, int]) -> None:
    images = torch.randn(2, 3, *sides, dtype=torch.float64, requires_grad=True)
    found, expected = AveragePool((7, 7)), torch.nn.AdaptiveAvgPool2d((7, 7))
    weights = torch.randn(2, 3, 7, 7, dtype=torch.float64)
    gradients = []
    for pool in (found, expected):
        (gradient,) = torch.autograd.grad((pool(images) * weights).sum(), images)
        gradients.append(gradient)
    torch.testing.assert_close(found(images), expected(images), rtol=0, atol=1e-14)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-13)


def test_where_nothing_is_asked_for_torch_pools() -> None:
    set_numerics(RunConfig())
    images = torch.randn(2, 3, 5, 9)
    expected = torch.nn.AdaptiveAvgPool2d((7, 7))(images)
    assert torch.equal(AveragePool((7, 7))(images), expected)
