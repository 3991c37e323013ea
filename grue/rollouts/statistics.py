"""Statistics of a rollout, by the metric names of RL4LMs and of lm-human-preferences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from grue.rl import reward_stats
from grue.rl.token_positions import chosen, first_tokens

if TYPE_CHECKING:
    from grue.policies.truncation import Truncation
    from grue.rollouts.batch import Rollout

_FEW = 1e-2
"""Reward std below which an input counts as low, in units of the reward."""


def rollout_statistics(
    rollout: Rollout,
    penalty: Tensor,
    kl_coefficient: float,
    samples_per_input: int,
    truncation: Truncation | None,
) -> dict[str, float]:
    """Return means and standard deviations over all tokens and outputs, in one device transfer.

    Args:
        rollout: N outputs, those of an input next to each other.
        penalty: [N, T] KL part of the rewards.
        kl_coefficient: coefficient of the KL, in reward per nat.
        samples_per_input: number of outputs of each input.
        truncation: truncation of outputs for the reward, if any.
    """
    scores = rollout.task_rewards.sum(1)
    of_tokens = _token_statistics(rollout, penalty)
    of_objective = objective_statistics(rollout, kl_coefficient)
    measured = of_tokens | of_objective
    together = torch.cat([torch.stack(list(measured.values())), scores])
    read = together.tolist()
    numbers = dict(zip(measured, read, strict=False))

    found = {name: numbers[name] for name in of_tokens}
    found["rollout_info/num_tokens"] = float(sum(map(len, rollout.outputs)))
    found["rollout_info/num_used_tokens"] = float(rollout.num_tokens)
    found["rollout_info/kl_coeff"] = kl_coefficient
    if truncation is not None:
        met = [truncation.is_met(output) for output in rollout.outputs]
        found["objective/frac_truncated"] = float(np.mean(met))
    found |= {name: numbers[name] for name in of_objective}
    found["objective/kl_coef"] = kl_coefficient
    return found | _reward_stds(read[len(measured) :], samples_per_input)


def _token_statistics(rollout: Rollout, penalty: Tensor) -> dict[str, Tensor]:
    of_outputs = {
        "ep_rew": rollout.task_rewards.sum(1),
        "ep_lens": rollout.response_mask.sum(1).float(),
        "ep_kl_rew": penalty.sum(1),
    }
    of_tokens = {
        "kl_div_mean": rollout.kl,
        "log_prob": rollout.log_probs,
        "ref_log_prob": rollout.ref_log_probs,
        "values": rollout.values,
    }
    lengths = torch.tensor([len(output) for output in rollout.outputs])
    response_mask = first_tokens(lengths, rollout.response_mask.shape[1])
    all_values = of_outputs | {
        name: chosen(values, response_mask) for name, values in of_tokens.items()
    }
    found: dict[str, Tensor] = {}
    for name, values in all_values.items():
        found[f"rollout_info/{name}"] = values.mean()
        found[f"rollout_info/{name}_std"] = values.std(correction=0)
    return found


def _reward_stds(scores: Sequence[float], samples_per_input: int) -> dict[str, float]:
    """Return the deviation of rewards of one input, if it has more than one output."""
    if samples_per_input < 2:
        return {}
    rewards = np.array(scores).reshape(-1, samples_per_input)
    found = reward_stats.summary(rewards, ddof=1, zero_tol=None, low_std=_FEW, group_sizes=())
    return {
        name: value
        for name, value in found.items()
        if name.startswith("reward_std/") and isinstance(value, float)
    }


def objective_statistics(rollout: Rollout, kl_coefficient: float) -> dict[str, Tensor]:
    """Return means over outputs of sums over their tokens.

    ``objective/kl`` and ``objective/entropy`` (-log pi of the sampled tokens) are in nats, the
    scores in units of the reward. ``objective/score_total`` is the score minus coefficient times
    KL.
    """
    mask = rollout.response_mask
    kl, log_probs, score = (
        (values * mask).sum(1).mean()
        for values in (rollout.kl, rollout.log_probs, rollout.task_rewards)
    )
    return {
        "objective/kl": kl,
        "objective/entropy": -log_probs,
        "objective/score": score,
        "objective/score_total": score - kl_coefficient * kl,
    }


def elapsed(num_updates: int, num_outputs: int, longest: int) -> dict[str, float]:
    """Return the counts of outputs and tokens so far, for rollouts of ``num_outputs`` outputs.

    ``elapsed/steps/serial`` counts tokens that are sampled one after the other, ``longest`` in a
    rollout. ``elapsed/steps/total`` counts those of all outputs.
    """
    return {
        "elapsed/updates": num_updates,
        "elapsed/episodes": num_updates * num_outputs,
        "elapsed/steps/serial": num_updates * longest,
        "elapsed/steps/total": num_updates * longest * num_outputs,
    }
