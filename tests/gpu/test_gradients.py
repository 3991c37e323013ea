"""The exact policy gradient: equal to its formula, and to the mean of the sampled ones."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sft_vs_rft import objectives
from sft_vs_rft.methods import METHODS, Predictions, drawn_labels, label_noise
from tests.gpu import controlled
from tests.gpu.controlled import OnDevice, trainer_of
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu

_CLASSES = 10
_SIGMAS = 5
"""Standard errors that a mean of draws may be off: one in two million is, by chance."""


def _policy(device: torch.device) -> tuple[Tensor, Tensor]:
    """Logits [B, C], peaked ones among them, and rewards [B, C]."""
    torch.manual_seed(0)
    logits = torch.randn(64, _CLASSES) * torch.linspace(0.1, 10, 64)[:, None]
    rewards = torch.full_like(logits, -1.0)
    rewards[torch.arange(64), torch.arange(64) % _CLASSES] = 1.0
    return logits.to(device), rewards.to(device)


def test_exact_gradient_is_its_formula(device: torch.device, findings: Findings) -> None:
    logits, rewards = _policy(device)
    logits.requires_grad_()
    value = objectives.expected_reward(logits, rewards)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    probabilities = logits.detach().double().softmax(-1)
    exact = probabilities * (rewards - (probabilities * rewards).sum(-1, keepdim=True))
    findings.at_most("gradient of V in the logits less pi (r - V), float64",
                     float((gradient - exact).abs().max()), 5e-7)  # fmt: skip
    # As runs measure single inputs: in float32 the norms of peaked policies are rounding noise.
    in_double = logits.detach().double()
    norms = objectives.expected_gradient_norm(in_double, rewards)
    findings.at_most("its norm in float64 less the norm of that, relative",
                     float((norms / exact.norm(dim=-1) - 1).abs().max()), 1e-6)  # fmt: skip
    _, std = objectives.reward_mean_std(in_double, rewards)
    findings.at_most("norm less the reward's standard deviation, which bounds it",
                     float((norms - std).max()), 1e-12)  # fmt: skip


def test_labels_are_drawn_with_the_policys_probabilities(
    device: torch.device, full: bool, findings: Findings
) -> None:
    logits, _ = _policy(device)
    draws = 20_000 if full else 4_000
    torch.manual_seed(1)
    counts = torch.zeros_like(logits)
    for _ in range(draws):
        labels = drawn_labels(logits, label_noise(*logits.shape, device))
        counts.scatter_add_(1, labels[:, None], torch.ones_like(counts[:, :1]))
    probabilities = logits.double().softmax(-1)
    expected = draws * probabilities
    error = (expected * (1 - probabilities)).sqrt()
    common = expected > 20  # where counts are about normal
    findings.at_most(
        f"counts of {draws} draws less n pi, in standard errors",
        float(((counts - expected).abs() / error)[common].max()), _SIGMAS,
    )  # fmt: skip


def test_sampled_gradients_have_the_exact_one_as_mean(
    device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    keys = controlled.vectors(tmp_path / "data.npz", 64)
    trainer = trainer_of(OnDevice(keys, tmp_path / "run", device))
    inputs, rewards = trainer.data.train_inputs.take(torch.arange(64)), trainer.rewards
    logits = trainer.policy_logits(inputs)
    labels = trainer.targets

    def gradient(method: str, drawn: Tensor | None, *, keep: bool = True) -> Tensor:
        objective = METHODS[method].objective(Predictions(logits, labels, rewards, None, drawn))
        parts = torch.autograd.grad(objective.mean(), trainer.params, retain_graph=keep)
        return torch.cat([part.flatten() for part in parts]).double()

    exact = gradient("expected_reinforce", None)
    direction = exact / exact.norm()
    torch.manual_seed(2)
    along = []
    for _ in range(2_000 if full else 400):
        drawn = drawn_labels(logits, label_noise(*logits.shape, device))
        along.append(gradient("reinforce", drawn) @ direction)
    sampled = torch.stack(along)
    findings.close(
        f"mean of {len(sampled)} sampled gradients along the exact one, over its norm",
        float(sampled.mean() / exact.norm()), 1.0,
        _SIGMAS * float(sampled.std() / exact.norm()) / math.sqrt(len(sampled)),
    )  # fmt: skip
