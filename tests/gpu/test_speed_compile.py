"""Whether ``torch.compile`` of an update's passes wins by more than its warm-up costs.

Forward and backward pass of a minibatch of one shape, which is the best case: minibatches of other
shapes are compiled again, or captured again. The break-even is the number of steps after which the
seconds won make up for those of the warm-up; an update of the published size takes 100 steps in
each of 50 iterations.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from grue.losses import policy_gradient_loss
from grue.policies.distribution import TokenDistribution
from tests.benchmarks.text_models import random_gpt2
from tests.benchmarks.timing import medians_in_turns, seconds_of
from tests.gpu.findings import Findings, LeftOut

pytestmark = pytest.mark.gpu

_WARM_UP = 4
"""Calls after which nothing is compiled or captured any more."""


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_update(
    mode: str, device: torch.device, full: bool, findings: Findings, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        pytest.skip("there is no C compiler, which torch.compile needs")
    if mode == "reduce-overhead" and device.type != "cuda":
        findings.add(LeftOut(mode, "CUDA graphs need a CUDA device"))
        return
    outputs, prompt_tokens, num_tokens = (2, 32, 48) if full else (2, 4, 4)
    policy = random_gpt2(*((4, 768, 12) if full else (1, 32, 2)), device=device)
    model = policy.model.train()  # without dropout
    torch.manual_seed(0)
    ids = torch.randint(1, 1000, (outputs, prompt_tokens + num_tokens), device=device)
    advantages = torch.randn(outputs, num_tokens, device=device)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))  # nothing is compiled before
    compiled_model = torch.compile(model, mode=mode)
    plain, compiled = (_step(each, ids, advantages) for each in (model, compiled_model))
    warm_up = seconds_of(lambda: [compiled() for _ in range(_WARM_UP)], device)
    seconds = medians_in_turns({"plain": plain, "compiled": compiled}, 10 if full else 3, device)

    gradients = [_gradient(each, ids, advantages) for each in (model, compiled_model)]
    findings.at_most(f"{mode}: gradients, relative deviation from those without compiling",
                     float((gradients[1] - gradients[0]).norm() / gradients[0].norm()),
                     1e-4)  # fmt: skip
    name = f"update's passes, compiled ({mode})"
    findings.speed(name, seconds["compiled"], "as they are", seconds["plain"])
    cost = warm_up - _WARM_UP * seconds["compiled"]
    won = seconds["plain"] - seconds["compiled"]
    findings.number(f"{name}: warm-up", cost, "s")
    if won > 0:
        findings.number(f"{name}: break-even", cost / won, "steps")
    else:
        findings.add(LeftOut(f"{name}: break-even", "it is not faster"))


def _backward(model: Any, ids: Tensor, advantages: Tensor) -> None:
    """Forward and backward pass of a minibatch."""
    num_tokens = advantages.shape[1]
    logits = model(ids[:, :-1], use_cache=False, logits_to_keep=num_tokens).logits
    log_probs = TokenDistribution(logits.float()).log_prob(ids[:, -num_tokens:])
    policy_gradient_loss(log_probs, advantages).backward()


def _step(model: Any, ids: Tensor, advantages: Tensor) -> Callable[[], None]:
    def step() -> None:
        _backward(model, ids, advantages)
        model.zero_grad(set_to_none=True)

    return step


def _gradient(model: Any, ids: Tensor, advantages: Tensor) -> Tensor:
    """[P] of the weights, after one pass."""
    _backward(model, ids, advantages)
    found = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
    model.zero_grad(set_to_none=True)
    return found
