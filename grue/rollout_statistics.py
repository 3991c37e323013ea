"""What is logged of a rollout, by the names of RL4LMs and of lm-human-preferences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from grue import reward_stats

if TYPE_CHECKING:
    from grue.rollout import Rollout
    from grue.truncation import Truncation

_FEW = 1e-2
"""Reward std below which an input counts as low, in units of the reward."""


def rollout_statistics(
    rollout: Rollout,
    penalty: Tensor,
    kl_coefficient: float,
    samples_per_input: int,
    truncation: Truncation | None,
) -> dict[str, float]:
    """Means and standard deviations over all tokens and outputs.

    Args:
        rollout: N outputs, those of an input beside each other.
        penalty: [N, T] the KL's part of the rewards.
        kl_coefficient: in reward per nat.
        samples_per_input: outputs of each input.
        truncation: where outputs end for the reward, if they are cut.
    """
    found = _token_statistics(rollout, penalty)
    found["rollout_info/kl_coeff"] = kl_coefficient
    if truncation is not None:
        met = [truncation.is_met(output) for output in rollout.outputs]
        found["objective/frac_truncated"] = float(np.mean(met))
    scores = rollout.task_rewards.sum(1)
    stds = _reward_stds(scores, samples_per_input)
    return found | objective_statistics(rollout, kl_coefficient) | stds


def _token_statistics(rollout: Rollout, penalty: Tensor) -> dict[str, float]:
    mask = rollout.mask
    of_outputs = {
        "ep_rew": rollout.task_rewards.sum(1),
        "ep_lens": mask.sum(1).float(),
        "ep_kl_rew": penalty.sum(1),
    }
    of_tokens = {
        "kl_div_mean": rollout.kl,
        "log_prob": rollout.log_probs,
        "ref_log_prob": rollout.ref_log_probs,
        "values": rollout.values,
    }
    chosen = of_outputs | {name: values[mask] for name, values in of_tokens.items()}
    found: dict[str, float] = {}
    for name, values in chosen.items():
        found[f"rollout_info/{name}"] = float(values.mean())
        found[f"rollout_info/{name}_std"] = float(values.std(correction=0))
    found["rollout_info/num_tokens"] = float(mask.sum())
    found["rollout_info/num_used_tokens"] = float(rollout.used.sum())
    return found


def _reward_stds(scores: Tensor, samples_per_input: int) -> dict[str, float]:
    """How far rewards of one input deviate, where it has more than one output."""
    if samples_per_input < 2:
        return {}
    rewards = scores.double().cpu().numpy().reshape(-1, samples_per_input)
    found = reward_stats.summary(rewards, ddof=1, zero_tol=0.0, low_std=_FEW, group_sizes=())
    return {
        name: value
        for name, value in found.items()
        if name.startswith("reward_std/") and isinstance(value, float)
    }


def objective_statistics(rollout: Rollout, kl_coefficient: float) -> dict[str, float]:
    """Means over outputs, of sums over their tokens.

    ``objective/kl`` and ``objective/entropy`` (-log pi of the tokens drawn) are in nats, the scores
    in units of the reward; ``objective/score_total`` is the score less coefficient times KL.
    """
    mask = rollout.mask
    kl, log_probs, score = (
        (values * mask).sum(1).mean()
        for values in (rollout.kl, rollout.log_probs, rollout.task_rewards)
    )
    found = torch.stack([kl, -log_probs, score, score - kl_coefficient * kl]).tolist()
    names = ("kl", "entropy", "score", "score_total")
    of_outputs = {f"objective/{name}": value for name, value in zip(names, found, strict=True)}
    return of_outputs | {"objective/kl_coef": kl_coefficient}


def elapsed(num_updates: int, num_outputs: int, longest: int) -> dict[str, float]:
    """How much there has been so far, for rollouts of ``num_outputs`` outputs each.

    ``elapsed/steps/serial`` counts tokens that are drawn one after the other, ``longest`` in a
    rollout; ``elapsed/steps/total`` those of all outputs.
    """
    return {
        "elapsed/updates": num_updates,
        "elapsed/episodes": num_updates * num_outputs,
        "elapsed/steps/serial": num_updates * longest,
        "elapsed/steps/total": num_updates * longest * num_outputs,
    }
