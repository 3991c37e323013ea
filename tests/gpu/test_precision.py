"""Mixed precision and TF32: near float32, and nothing that counts is lost in the rounding.

Language models say logits that share an offset, GPT-2's around -35, which no distribution sees. In
half the width such numbers have steps of a quarter: log-probabilities must not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from grue.experiments.finetune.reinforcement import ReinforcementRun
from grue.rollouts.batch import Rollout
from tests.gpu import text
from tests.gpu.controlled import OnDevice, deviation
from tests.gpu.findings import Findings
from tests.gpu.test_golden import golden_keys

pytestmark = pytest.mark.gpu

_OFFSET = -35.0
_ERRORS = {"bf16": 0.05, "fp16": 0.01, "tf32": 0.01}
"""Nats by which log-probabilities may deviate from float32 (rms): 8, 11 and 11 bits."""
_LEAST_ERROR = 1e-5
"""Nats that they deviate at least; float32 itself deviates by a few 1e-7."""
_OF_OFFSET = 1.5
"""Times the deviation without an offset that it may be with one."""
_FIRST_RATIO = 0.05
"""Nats (rms), a quarter of PPO's clipping range, in which a minibatch may differ from the batch."""
_OF_KL = 0.1
"""Share of a small KL that precision may bring."""
_CONTROLLED = {"bf16": 0.05, "tf32": 0.01}
"""Relative deviation of a controlled run's metrics from float32."""
_LEAST_CONTROLLED = 1e-6
"""What it is at least."""


@contextmanager
def _products_in(kind: str) -> Iterator[None]:
    """A block in which float32 products are made in TF32, if that is the kind."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if kind == "tf32" else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _saved(folder: Path, offset: float, *, full: bool) -> Path:
    """A GPT-2 all of whose logits share an offset: its last states begin with a 1."""
    path = text.save(folder, "gpt2", full=full)
    tied = GPT2LMHeadModel.from_pretrained(path)
    config = GPT2Config.from_pretrained(path, tie_word_embeddings=False)
    model = GPT2LMHeadModel(config)
    model.load_state_dict(tied.state_dict())
    with torch.no_grad():
        model.transformer.ln_f.weight[0], model.transformer.ln_f.bias[0] = 0.0, 1.0
        model.lm_head.weight[:, 0] = offset
    model.save_pretrained(path)
    return path


def _run(
    device: torch.device, folder: Path, model: Path, kind: str, *, full: bool
) -> ReinforcementRun:
    half = {} if kind == "tf32" else {"alg__policy__mixed_precision": kind}
    step = 3e-5 if full else 1e-3  # a KL of about 0.1 in either width
    once = {"alg__args__n_epochs": 1, "alg__args__learning_rate": step, "env__n_envs": 32}
    return text.run_on(device, folder, model, "ppo", **once, **half)


@torch.no_grad()
def _in_float32(run: ReinforcementRun, rollout: Rollout) -> tuple[Tensor, Tensor]:
    """[M] log-probabilities of policy and reference for all tokens, in float32."""
    policy, kind = run.policy, run.policy.mixed_precision
    policy.mixed_precision = "no"
    sequences = policy.sequences(rollout.prompts, rollout.outputs)
    ids, mask = sequences.outputs.ids[..., None], sequences.outputs.mask.bool()
    found = [
        logits.log_softmax(-1).gather(-1, ids).squeeze(-1)[mask]
        for logits in (sequences.logits(policy.model), run.actor_critic.reference_logits(sequences))
    ]
    policy.mixed_precision = kind
    return found[0], found[1]


def _rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


@pytest.mark.parametrize("kind", _ERRORS)
def test_language_model(
    kind: str, device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    errors = {}
    for offset in (0.0, _OFFSET):
        model = _saved(tmp_path / f"model{offset}", offset, full=full)
        run = _run(device, tmp_path / f"run{offset}", model, kind, full=full)
        with _products_in(kind):
            rollout, statistics = run.rollouts.collect(0, text.COEFFICIENT)
        exact, _ = _in_float32(run, rollout)
        errors[offset] = _rms(rollout.log_probs[rollout.response_mask] - exact)
    findings.at_most(f"{kind}: deviation of log-probabilities from float32, rms in nats",
                     errors[0.0], _ERRORS[kind])  # fmt: skip
    if kind != "tf32" or device.type == "cuda":
        findings.at_least(f"{kind}: the same, so that it is in use", errors[0.0], _LEAST_ERROR)
    findings.at_most(f"{kind}: the same with logits around {_OFFSET:g}", errors[_OFFSET],
                     max(_OF_OFFSET * errors[0.0], 1e-5))  # fmt: skip
    names = ("log_probs", "ref_log_probs", "kl", "values", "task_rewards")
    types = {getattr(rollout, name).dtype for name in names}
    findings.equal(f"{kind}: types of what a rollout holds", types, {torch.float32})
    findings.close(f"{kind}: KL to the reference in the first rollout, nats",
                   statistics["rollout_info/kl_div_mean"], 0.0, 1e-5)  # fmt: skip
    _iteration(findings, kind, run, rollout)


def _iteration(findings: Findings, kind: str, run: ReinforcementRun, rollout: Rollout) -> None:
    """An update, and the KL that the next rollout measures."""
    with _products_in(kind):
        update = text.update(run, rollout)
        later, statistics = run.rollouts.collect(1, text.COEFFICIENT)
    assert update.first_log_ratios is not None
    findings.at_most(f"{kind}: log-ratios of the first minibatch, rms in nats",
                     _rms(update.first_log_ratios), _FIRST_RATIO)  # fmt: skip
    metrics = update.metrics | statistics
    wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
    skipped = metrics.get("mixed_precision/skipped_steps", 0.0)
    if not skipped:  # a step that is left out has a norm that is not finite
        findings.equal(f"{kind}: metrics that are not finite", wrong, [])
    findings.equal(f"{kind}: weights that are not finite",
                   int((~update.after.isfinite()).sum()), 0)  # fmt: skip
    findings.at_least(f"{kind}: share of weights that moved",
                      float((update.way != 0).float().mean()), 0.3)  # fmt: skip
    if kind == "fp16":
        findings.at_least("fp16: loss scale", metrics["mixed_precision/loss_scale"], 1.0)
        findings.at_most("fp16: steps left out for the scale", skipped, 1.0)
    log_probs, reference = _in_float32(run, later)
    exact = float((log_probs - reference).mean())
    found = statistics["rollout_info/kl_div_mean"]
    findings.at_least(f"{kind}: KL after an update, nats per token in float32", abs(exact), 1e-3)
    findings.close(f"{kind}: the KL that the rollout measures", found, exact,
                   _OF_KL * abs(exact) + 1e-4)  # fmt: skip


@pytest.mark.parametrize("kind", _CONTROLLED)
def test_controlled_run(
    kind: str, device: torch.device, findings: Findings, tmp_path: Path
) -> None:
    keys: dict[str, Any] = golden_keys("pretrain_multi_label")
    exact = OnDevice(keys, tmp_path / "float32", device).rows()
    rows = OnDevice({**keys, "precision": kind}, tmp_path / kind, device).rows()
    apart = deviation(rows, exact)
    findings.at_most(f"controlled run in {kind}: deviation from float32, epoch 1 of {len(apart)}",
                     apart[0], _CONTROLLED[kind])  # fmt: skip
    if kind != "tf32" or device.type == "cuda":
        findings.at_least(f"controlled run in {kind}: the same, so that it is in use", apart[0],
                          _LEAST_CONTROLLED)  # fmt: skip
    last, expected = (of[-1]["train loss"] for of in (rows, exact))
    findings.close(f"controlled run in {kind}: last train loss, as in float32", last, expected,
                   _CONTROLLED[kind] * expected)  # fmt: skip
