"""What a rollout is worth per output, by the names of lm-human-preferences (arXiv 1909.08593)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from grue.rollout import Rollout


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
