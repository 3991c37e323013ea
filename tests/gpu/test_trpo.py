"""TRPO: the curvature by forward-mode differentiation, the search for a direction, the step.

The exact curvature is the gradient of the gradient, in float64 on the CPU: nothing of it is shared
with the products that are checked.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from grue.algorithms import trpo as trpo_module
from grue.algorithms.fisher import Fisher, TokenLogits
from grue.experiments.finetune.reinforcement import ReinforcementRun
from grue.rl.kl import kl_full
from grue.rollouts.batch import Rollout
from grue.rollouts.minibatch import Minibatch
from tests.gpu import text
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu

_FACTOR = 10
"""Times the deviation of the CPU's float32 from float64 that another order of sums may bring."""
_LEAST = 1e-6
_MOST = 1e-3
"""Relative deviation that no float32 has, whatever the CPU does."""
_WAY_APART = 0.05
"""Adam's first steps, those of the critic, have the sign of gradients, however small."""
_TARGET_KL, _DAMPING, _TEMPERATURE = 0.01, 0.1, 0.8
_ARGS = {
    "alg__args": {"n_steps": 12, "batch_size": 64, "target_kl": _TARGET_KL, "cg_max_steps": 5,
                  "cg_damping": _DAMPING, "n_critic_updates": 2},
    "alg__policy__args__generation_kwargs": {"do_sample": True, "top_k": 0, "max_new_tokens": 6,
                                             "temperature": _TEMPERATURE},
}  # fmt: skip


@dataclass
class Search:
    """What an update's search for a direction begins and ends with."""

    batches: Sequence[Minibatch]
    ascent: Tensor
    direction: Tensor
    product_of_ascent: Tensor
    """What its damped Fisher matrix makes of the ascent, less the damping's part."""
    old: Any
    """The model before the step, in float64 on the CPU."""


def _search_of(
    run: ReinforcementRun, rollout: Rollout, monkeypatch: pytest.MonkeyPatch
) -> tuple[Search, text.Update]:
    """The update, and what happened within it."""
    found: list[Any] = []
    search = trpo_module.conjugate_gradient

    class Noted(Fisher):
        def __init__(self, logits: TokenLogits, batches: Sequence[Minibatch], damping: float):
            super().__init__(logits, batches, damping)
            found.append(batches)

    def noted(product: Callable[[Tensor], Tensor], target: Tensor, **options: Any) -> Tensor:
        direction = search(product, target, **options)
        image = product(target) - _DAMPING * target
        found.extend([target, direction, image, text.in_double(run.policy.model)])
        return direction

    with monkeypatch.context() as patched:
        patched.setattr(trpo_module, "Fisher", Noted)
        patched.setattr(trpo_module, "conjugate_gradient", noted)
        update = text.update(run, rollout)
    return Search(*found), update


def _logits(model: Any, batch: Minibatch) -> Tensor:
    """[M, V] in the type of the model's weights."""
    found: Tensor = batch.sequences.logits(model)[batch.loss_mask]
    return found / _TEMPERATURE


def _exact_product(model: Any, batches: Sequence[Minibatch], vector: Tensor) -> Tensor:
    """[P] the Hessian of the mean KL at the model's own weights times ``vector``, in float64."""
    weights = list(model.parameters())
    pieces = vector.double().split([weight.numel() for weight in weights])
    num_states, product = sum(map(len, batches)), torch.zeros_like(vector, dtype=torch.float64)
    for batch in batches:
        with sdpa_kernel(SDPBackend.MATH):  # the only kernel that knows gradients of gradients
            logits = _logits(model, batch)
            kl = kl_full(logits, logits.detach()).sum() / num_states
            first = torch.autograd.grad(
                kl, weights, create_graph=True, allow_unused=True, materialize_grads=True
            )
            slope = sum((g.flatten() * v).sum() for g, v in zip(first, pieces, strict=True))
            assert isinstance(slope, Tensor)
            second = torch.autograd.grad(slope, weights, allow_unused=True, materialize_grads=True)
        product += torch.cat([part.flatten() for part in second])
    return product


def _apart(found: Tensor, expected: Tensor) -> float:
    """Distance of a vector from the expected one, as a share of its length."""
    return float((found.cpu().double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_update(
    kind: str, device: torch.device, full: bool, findings: Findings, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    model = text.save(tmp_path / "model", kind, full=full)
    changes = dict(_ARGS)
    if kind == "t5":
        changes["alg__policy__id"] = "seq2seq_lm_actor_critic_policy"  # type: ignore[assignment]
    cpu = torch.device("cpu")
    runs = [text.run_on(where, tmp_path / name, model, "trpo", **changes)
            for name, where in (("cpu", cpu), ("here", device))]  # fmt: skip
    rollouts = [run.rollouts.collect(0, text.COEFFICIENT)[0] for run in runs]
    (on_cpu, update_on_cpu), (here, update) = (
        _search_of(run, text.like(rollouts[0], own), monkeypatch)
        for run, own in zip(runs, rollouts, strict=True)
    )

    # 1. The curvature.
    batches = on_cpu.batches
    exact = _exact_product(copy.deepcopy(on_cpu.old), batches, on_cpu.ascent)
    exact_here = _exact_product(copy.deepcopy(here.old), batches, here.ascent.cpu())
    findings.at_most(
        f"{kind}: curvature along the ascent, relative deviation from float64",
        _apart(here.product_of_ascent, exact_here),
        min(max(_FACTOR * _apart(on_cpu.product_of_ascent, exact), _LEAST), _MOST),
    )
    # 2. The direction: how much of the equation H x = g a search of five steps leaves.
    left = [_residual(search, batches) for search in (on_cpu, here)]
    findings.close(f"{kind}: residual of the direction, share of the ascent, as on the CPU",
                   left[1], left[0], 0.01 * left[0])  # fmt: skip
    # 3. The step: what it reports is what a policy in float64 says of it.
    kl = _kl(text.in_double(runs[1].policy.model), here.old, batches)
    findings.equal(f"{kind}: line search succeeds",
                   update.metrics["trpo/is_line_search_success"], 1.0)  # fmt: skip
    findings.close(f"{kind}: KL of the step, in float64", update.metrics["trpo/kl_divergence"],
                   kl, 1e-3 * kl)  # fmt: skip
    findings.at_most(f"{kind}: KL of the step, within the trust region", kl, _TARGET_KL)
    findings.at_least(f"{kind}: KL of the step, within the trust region", kl, 0.3 * _TARGET_KL)
    for name, expected in update_on_cpu.metrics.items():
        findings.close(f"{kind}: {name}, as on the CPU", update.metrics[name], expected,
                       1e-2 * abs(expected) + 1e-4)  # fmt: skip
    findings.at_most(f"{kind}: the way of all weights, share apart from the CPU's",
                     _apart(update.way, update_on_cpu.way.double()), _WAY_APART)  # fmt: skip


def _residual(search: Search, batches: Sequence[Minibatch]) -> float:
    """|g - H x| / |g|, with H in float64."""
    model, ascent, direction = (
        copy.deepcopy(search.old), search.ascent.cpu().double(), search.direction.cpu().double(),
    )  # fmt: skip
    image = _exact_product(model, batches, direction) + _DAMPING * direction
    return float((ascent - image).norm() / ascent.norm())


@torch.no_grad()
def _kl(new: Any, old: Any, batches: Sequence[Minibatch]) -> float:
    """Mean KL(new || old) over all states, in float64."""
    found = torch.cat([kl_full(_logits(new, batch), _logits(old, batch)) for batch in batches])
    return float(found.mean())
