"""Norms of gradients, and steps by clipped gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from common.training.clipping import step_clipped
from common.training.norms import total_norm
from common.training.optimizers import SGD, AdamW


class OnGpu(Tensor):
    """Says that it is on a GPU."""

    device = torch.device("cuda")  # type: ignore[assignment]


class Operations(TorchDispatchMode):
    """Counts them."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("kind", [Tensor, OnGpu])
def test_a_norm_keeps_its_digits_where_one_float32_sum_does_not(kind: type[Tensor]) -> None:
    vector = torch.randn(3_000_001, generator=torch.Generator().manual_seed(0)) + 1
    exact = vector.double().norm().item()
    assert abs(vector.norm().item() / exact - 1) > 1e-5
    rel = 1e-6 if kind is Tensor else 6e-8  # float64, rounded once
    parts = [vector[:7], vector[7:4096].reshape(3, -1), vector[4096:], torch.empty(0)]
    for tensors in ([vector], parts):
        found = total_norm([tensor.as_subclass(kind) for tensor in tensors])
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(exact, rel=rel)


def test_the_norm_of_many_tensors_on_a_gpu_is_a_matter_of_few_operations() -> None:
    tensors = [torch.randn(3, 5).as_subclass(OnGpu) for _ in range(100)]
    with Operations() as operations:
        total_norm([None, *tensors])
    assert operations.count < 6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("make", [AdamW, SGD])
@pytest.mark.parametrize("limit", [0.1, 1e6, torch.inf])
def test_a_fused_step_clips_as_the_others_do(
    make: type[AdamW | SGD], limit: float, dtype: torch.dtype
) -> None:
    found = []
    for fused in (True, False):
        weights = [nn.Parameter(torch.ones(3, 4, dtype=dtype)),
                   nn.Parameter(torch.zeros(5, dtype=dtype))]  # fmt: skip
        optimizer = make(weights, lr=0.1, fused=fused)
        for step in range(3):
            for weight in weights:
                generator = torch.Generator().manual_seed(step)
                weight.grad = torch.randn(weight.shape, generator=generator).to(dtype)
            norm = total_norm(weight.grad for weight in weights)
            step_clipped(optimizer, norm, limit)
        found.append(torch.cat([weight.detach().flatten() for weight in weights]))
    step = 2**-7 if dtype == torch.bfloat16 else 1e-6  # of numbers between 1 and 2
    torch.testing.assert_close(*found, rtol=1e-5, atol=step)


def test_after_a_step_that_failed_gradients_are_not_divided_again() -> None:
    weight = nn.Parameter(torch.ones(2))
    weight.grad = torch.ones(2)
    optimizer = SGD([weight], lr=1.0, fused=True)
    broken = optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        step_clipped(optimizer, torch.tensor(10.0), 1.0)
    broken.remove()
    optimizer.step()
    assert weight.tolist() == [0.0, 0.0]


def test_no_gradient_has_norm_zero() -> None:
    assert total_norm([None]) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_norm_of_half_width_numbers_is_in_float32(dtype: torch.dtype) -> None:
    numbers = torch.randn(3, 5000, generator=torch.Generator().manual_seed(0)).to(dtype)
    for kind in (Tensor, OnGpu):
        found = total_norm([numbers.as_subclass(kind)])
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(numbers.double().norm().item(), rel=1e-6)
