"""Whether torch.compile pays in an update: seconds per step, and steps until its start is paid for.

A step is the forward and backward pass of GPT-2 124M (random weights) over a minibatch of whole
sequences, with its loss and AdamW. ``reduce-overhead`` replays CUDA graphs. Lengths of minibatches
vary in runs; here they are one, so that this is the best case.
"""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch

from tests.benchmarks.text_models import random_model
from tests.benchmarks.timing import medians_in_turns, seconds_of
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu


class _Step:
    """One update of a model."""

    def __init__(self, device: torch.device, full: bool, mode: str | None) -> None:
        model = random_model(12, 768, 12) if full else random_model(1, 32, 2)
        self.model: Any = model.to(device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-6, fused=True)
        self.forward = self._loss if mode is None else torch.compile(self._loss, mode=mode)
        self.ids = torch.randint(1, 50_000, (8, 112) if full else (2, 16), device=device)

    def _loss(self, ids: torch.Tensor) -> torch.Tensor:
        logits = self.model(ids[:, :-1], use_cache=False).logits
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    def __call__(self) -> None:
        self.forward(self.ids).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_update(mode: str, device: torch.device, full: bool, findings: Findings) -> None:
    if device.type == "cpu" and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    if device.type == "cpu" and mode == "reduce-overhead":
        pytest.skip("CUDA graphs need a GPU")
    plain, compiled = _Step(device, full, None), _Step(device, full, mode)
    plain()
    warm_up = sum(seconds_of(compiled, device) for _ in range(3))
    seconds = medians_in_turns({"plain": plain, "compiled": compiled}, 5, device)
    findings.speed(f"update, torch.compile ({mode})", seconds["compiled"], "eager",
                   seconds["plain"])  # fmt: skip
    findings.number(f"torch.compile ({mode}): start", warm_up, "s")
    gained = seconds["plain"] - seconds["compiled"]
    steps = (warm_up - 3 * seconds["plain"]) / gained if gained > 0 else float("inf")
    findings.number(f"torch.compile ({mode}): steps until its start is paid for", steps, "steps")
