"""Losses of KL and entropy where advantages are equal, so that their std is rounding alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.grue.test_recorded_updates import moved, subject

KL_LOSS = {"coeff": 0.1, "placement": "loss"}
ALONE = {"vf_coef": 0.0, "max_grad_norm": 1e9, "ent_coef": 0.0}
PPO = {**ALONE, "n_epochs": 1, "batch_size": 1000}


@pytest.mark.parametrize(
    ("name", "kl_div", "args"),
    [
        ("ppo", KL_LOSS, PPO),
        ("ppo", {"coeff": 0.1}, {**PPO, "analytic_kl_grad": True}),
        ("ppo", {"coeff": 0.0}, {**PPO, "ent_coef": 0.1}),
        ("a2c", KL_LOSS, ALONE),
        ("a2c", {"coeff": 0.0}, {**ALONE, "ent_coef": 0.1}),
        ("trpo", KL_LOSS, {}),
    ],
)
def test_they_are_not_divided_by_it(
    name: str, kl_div: dict[str, Any], args: dict[str, Any]
) -> None:
    """The update is that of advantages of 0 which nothing divides."""
    found = []
    for is_standardized in (True, False):
        keys = {**args, "normalize_advantage": is_standardized}
        algorithm, rollouts = subject(name, kl_div=kl_div, **keys)
        moved(algorithm)
        rollout, _ = rollouts.collect(0, 0.1)
        nothing = torch.zeros_like(rollout.advantages)
        rounding = 1e-8 * torch.rand(nothing.shape, generator=torch.Generator().manual_seed(0))
        equal = rollout.with_advantages(rounding if is_standardized else nothing, nothing)
        found.append(algorithm.update(equal, 0.1, torch.Generator().manual_seed(0)))
    assert found[0] == pytest.approx(found[1], rel=1e-5, abs=1e-6)
    assert found[0]["update_share/kl_and_entropy"] == pytest.approx(1, abs=1e-6)
    moves = found[0]["trpo/kl_divergence" if name == "trpo" else f"{name}/grad_norm"]
    assert 1e-5 < moves < 10
