"""One iteration of each algorithm and variant, against the same iteration on the CPU.

Both draw from the same uniforms; a token that lies between two may fall to the other, so equal
outputs are counted. Both then update on the outputs of the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from grue.rollouts.batch import Rollout
from tests.gpu import text
from tests.gpu.findings import Findings
from tests.grue.test_reinforcement import MASKED, TRUSTED

pytestmark = pytest.mark.gpu

_FIRST_RATIO = 1e-4
"""Nats that float32 log-probabilities of a batch may lie from those of another batch."""
_FIRST_KL = 1e-5
_APART = 1e-3
"""Relative deviation from the CPU that float32 metrics may have after some steps."""
_LEAST = 1e-4
_WAY_APART = 0.05
"""Of the way of all weights; Adam's first steps have the sign of gradients, however small."""
_EQUAL_OUTPUTS = 0.9
_STEP = 3e-4
"""Learning rate: small, so that steps do not make much of what rounding brings."""

_SEQ2SEQ = {"alg__policy__id": "seq2seq_lm_actor_critic_policy"}
_ONCE = {"alg__args__n_epochs": 1, "alg__args__learning_rate": _STEP}
_BASELINES = ("none", "running_mean", "cumulative_mean", "leave_one_out", "group_standardized")
_WHITENED = {
    "env__n_envs": 16,
    "env__args__terminate_on_eos": False,
    "alg__args": {"n_epochs": 2, "nminibatches": 2, "learning_rate": _STEP},
    "alg__policy__args__generation_kwargs": {
        "do_sample": True, "top_k": 0, "max_new_tokens": 6, "ignore_eos": True,
    },
}  # fmt: skip
_CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "TRPO": ("gpt2", "trpo", TRUSTED),
    "PPO": ("gpt2", "ppo", _ONCE),
    "PPO, rotary positions": ("llama", "ppo", _ONCE),
    "PPO, T5": ("t5", "ppo", {**_ONCE, **_SEQ2SEQ}),
    "PPO, BART": ("bart", "ppo", {**_ONCE, **_SEQ2SEQ}),
    "PPO, shared critic": ("gpt2", "ppo", {**_ONCE, "alg__policy__critic": "shared"}),
    "PPO, gradient checkpointing": ("gpt2", "ppo",
                                    {**_ONCE, "alg__policy__gradient_checkpointing": True}),
    "PPO, LoRA": ("gpt2", "ppo", {**_ONCE, "alg__policy__lora": {"r": 4}}),
    "PPO, exact KL as loss": ("gpt2", "ppo", {**_ONCE, "alg__kl_div__placement": "loss"}),
    "NLPO": ("gpt2", "nlpo", {**_ONCE, **MASKED}),
    "NLPO, T5": ("t5", "nlpo",
                 {**_ONCE, **MASKED, "alg__policy__id": "maskable_seq2seq_lm_actor_critic_policy"}),
    "PPO from human preferences": ("gpt2", "ppo_human_preferences", _WHITENED),
    "A2C": ("gpt2", "a2c", {"alg__args__n_steps": 16, "alg__args__learning_rate": _STEP}),
    "REINFORCE, T5": ("t5", "reinforce", {**_ONCE, **_SEQ2SEQ}),
    **{f"REINFORCE, {name}": ("gpt2", "reinforce", {**_ONCE, "alg__args__baseline": name})
       for name in _BASELINES},
}  # fmt: skip


@pytest.mark.parametrize("name", _CASES)
def test_iteration(
    name: str, device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    kind, algorithm, changes = _CASES[name]
    model = text.save(tmp_path / "model", kind, full=full)
    runs = [text.run_on(where, tmp_path / part, model, algorithm, **changes)
            for part, where in (("cpu", torch.device("cpu")), ("here", device))]  # fmt: skip
    rollouts, statistics = zip(
        *(run.rollouts.collect(0, text.COEFFICIENT) for run in runs), strict=True
    )
    findings.at_least(f"{name}: share of outputs that are equal on both",
                      text.equal_share(*_outputs(*rollouts)), _EQUAL_OUTPUTS)  # fmt: skip
    _in_rollout(findings, name, *rollouts)
    findings.close(f"{name}: KL to the reference in the first rollout, nats",
                   statistics[1]["rollout_info/kl_div_mean"], 0.0, _FIRST_KL)  # fmt: skip

    on_cpu, here = (
        text.update(run, text.like(rollouts[0], own))
        for run, own in zip(runs, rollouts, strict=True)
    )
    if here.first_log_ratios is not None:
        findings.close(f"{name}: log-ratios of the first minibatch, nats",
                       _largest(here.first_log_ratios), 0.0, _FIRST_RATIO)  # fmt: skip
    _finite(findings, name, statistics[1] | here.metrics)
    _as_on_cpu(findings, name, here.metrics, on_cpu.metrics)
    findings.at_least(f"{name}: share of weights that moved",
                      float((here.way != 0).float().mean()), 0.3)  # fmt: skip
    findings.at_most(f"{name}: the way of all weights, share apart from the CPU's",
                     float((here.way - on_cpu.way).norm() / on_cpu.way.norm()),
                     _WAY_APART)  # fmt: skip


def _outputs(*rollouts: Rollout) -> list[Any]:
    return [list(rollout.outputs) for rollout in rollouts]


def _largest(values: Tensor) -> float:
    return float(values.abs().max())


def _in_rollout(findings: Findings, name: str, on_cpu: Rollout, here: Rollout) -> None:
    """What both found of the outputs that are equal."""
    rows = [row for row, (one, other) in enumerate(zip(*_outputs(on_cpu, here), strict=True))
            if one == other]  # fmt: skip
    width = min(on_cpu.response_mask.shape[1], here.response_mask.shape[1])
    for field in ("log_probs", "ref_log_probs", "values", "task_rewards"):
        expected, found = (getattr(of, field)[rows, :width].cpu().double() for of in (on_cpu, here))
        findings.at_most(f"{name}: {field} of the rollout, largest deviation from the CPU",
                         _largest(found - expected), _FIRST_RATIO)  # fmt: skip


def _finite(findings: Findings, name: str, metrics: Mapping[str, float]) -> None:
    wrong = [key for key, value in metrics.items() if not math.isfinite(value)]
    findings.equal(f"{name}: metrics that are not finite", wrong, [])


def _as_on_cpu(
    findings: Findings, name: str, here: Mapping[str, float], on_cpu: Mapping[str, float]
) -> None:
    """The metric that deviates most, as a share of what it may."""
    shares = {key: abs(here[key] - value) / (_APART * abs(value) + _LEAST)
              for key, value in on_cpu.items()}  # fmt: skip
    worst = max(shares, key=shares.__getitem__)
    findings.close(f"{name}: {worst}, of all metrics the one that deviates most from the CPU",
                   here[worst], on_cpu[worst], _APART * abs(on_cpu[worst]) + _LEAST)  # fmt: skip
