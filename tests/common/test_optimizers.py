"""Optimizers without the compiler: PyTorch's numbers, states and hooks."""

from __future__ import annotations

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from common.training import optimizers

OPTIONS: dict[str, dict[str, Any]] = {
    "SGD": {"fused": True, "momentum": 0.9},
    "Adam": {"fused": True},
    "AdamW": {"fused": True},
    "RMSprop": {"alpha": 0.99},
}


def make(module: Any, name: str, params: Any) -> torch.optim.Optimizer:
    optimizer: torch.optim.Optimizer = getattr(module, name)(
        params, lr=0.1, weight_decay=0.01, **OPTIONS[name]
    )
    return optimizer


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    inputs = torch.arange(12.0).reshape(4, 3)
    for _ in range(steps):
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIONS)
def test_weights_and_state_are_those_of_pytorch(name: str) -> None:
    first = nn.Linear(3, 2)
    second = copy.deepcopy(first)
    ours, theirs = (
        make(optimizers, name, first.parameters()),
        make(torch.optim, name, second.parameters()),
    )
    for model, optimizer in ((first, ours), (second, theirs)):
        train(model, optimizer)
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
        train(model, optimizer)
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_step_takes_a_closure_calls_hooks_and_is_not_differentiated(name: str) -> None:
    model = nn.Linear(3, 2)
    optimizer = make(optimizers, name, model.parameters())
    called: list[str] = []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    train(model, optimizer, steps=1)
    before = model.weight.detach().clone()
    with torch.enable_grad():
        assert optimizer.step(lambda: 7.0) == 7.0  # type: ignore[arg-type]
    assert called == ["before", "after"] * 2
    assert not torch.equal(model.weight, before) and model.weight.is_leaf


def test_they_are_of_pytorchs_classes_which_stay_as_they_are() -> None:
    for name in OPTIONS:
        theirs = getattr(torch.optim, name)
        assert issubclass(getattr(optimizers, name), theirs)
        assert hasattr(theirs.zero_grad, "__wrapped__") and hasattr(theirs.step, "__wrapped__")


def test_no_compiler_is_imported() -> None:
    program = f"""
import sys, torch
from common.training import optimizers
for name, options in {OPTIONS!r}.items():
    weight = torch.ones(3, requires_grad=True)
    optimizer = getattr(optimizers, name)([weight], lr=0.1, **options)
    weight.square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
print({{"torch._dynamo", "sympy"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stderr
