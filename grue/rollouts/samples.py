"""Sample outputs of a rollout as log lines, each with its score and KL."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from grue.policies.policy import Policy
from grue.rollouts.batch import Rollout

_SHOWN = 3


def sample_lines(rollout: Rollout, policy: Policy, kl_coefficient: float) -> Iterator[str]:
    """Yield the first outputs with their score, their KL in nats, and score - coefficient * KL."""
    sums = [of[:_SHOWN].sum(1) for of in (rollout.task_rewards, rollout.kl * rollout.response_mask)]
    scores, kls = torch.stack(sums).tolist()
    prompts = policy.decode(rollout.prompts[:_SHOWN])
    outputs = policy.decode(rollout.outputs[:_SHOWN])
    for prompt, output, score, kl in zip(prompts, outputs, scores, kls, strict=True):
        total = score - kl_coefficient * kl
        worth = f"score {score:.4f}, KL of the output {kl:.4f}, total {total:.4f}"
        yield f"{worth}: {prompt!r} {output!r}"
