"""REINFORCE over whole outputs (Williams 1992), with the baselines of RLOO and GRPO among others.

The gradient is sum_t (R - b) grad log pi(a_t), a mean over outputs, with R an output's whole reward
(its KL penalties included where they are rewards) and b a baseline. With a baseline that does not
depend on the output it estimates the gradient of the expected reward without bias. Where the reward
knows its standard deviation sigma, R - b may be multiplied by 1 / (1 + sigma).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from grue.advantages import (
    cumulative_means,
    group_standardized,
    leave_one_out,
    shrunk_by_std,
)
from grue.algorithm_args import ReinforceArgs
from grue.algorithms.policy_gradient import PolicyGradient
from grue.algorithms.update import Means
from grue.losses import policy_gradient_loss
from grue.rollout import Rollout


class Reinforce(PolicyGradient[ReinforceArgs]):
    """The plain policy gradient; needs no critic."""

    Args = ReinforceArgs
    needs_critic = False
    whole_outputs = True

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.running_mean: Tensor | float | None = None
        self.total: Tensor | float = 0.0
        self.count = 0
        """Sum and number of all outputs' rewards so far."""

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """One step per minibatch of the rollout; gives what was measured."""
        args, means, first = self.args, Means(), True
        rollout = self._with_baseline(rollout)
        for _ in range(args.n_epochs):
            for whole in rollout.minibatches(args.batch_size, generator):
                batch = whole.of_this_rank()
                policy, log_probs, _ = self.evaluate(batch)
                entropy_loss = self.entropy_loss(policy, log_probs)
                penalty = args.ent_coef * entropy_loss
                penalty = penalty + self.kl_loss(batch, policy.logits, kl_coefficient)
                if first:
                    share = self.share_of_penalties(batch, policy.logits, log_probs, penalty)
                    means.add(**{"update_share/kl_and_entropy": share})
                    first = False
                per_output = len(whole) / len(whole.select)  # sums over tokens, means over outputs
                policy_loss = per_output * policy_gradient_loss(log_probs, batch.advantages)
                self.backward(batch.weight * (policy_loss + per_output * penalty))
                norm = self.step(args.max_grad_norm)
                means.add(batch.weight, **{"reinforce/policy_gradient_loss": policy_loss,
                                           "reinforce/entropy_loss": entropy_loss})  # fmt: skip
                means.add(**{"reinforce/grad_norm": norm})
        return means.read()

    def _with_baseline(self, rollout: Rollout) -> Rollout:
        """The rollout with each output's reward less the baseline as its tokens' advantages."""
        rewards = (rollout.rewards * rollout.mask).sum(1).view(-1, self.args.num_samples_per_input)
        # What a first token's advantage has of the penalties, without discount: all of them.
        penalties = rollout.penalty_advantages[:, 0].view_as(rewards)
        advantages, of_penalties = (
            part.reshape(-1) for part in self._less_baseline(rewards, penalties)
        )
        if self.args.advantage_regularization == "one_over_one_plus_std":
            assert rollout.reward_stds is not None, "asked for in the settings of rollouts"
            advantages = shrunk_by_std(advantages, rollout.reward_stds)
            of_penalties = shrunk_by_std(of_penalties, rollout.reward_stds)
        if self.args.log_prob_of == "sequence":
            rollout = rollout.of_whole_sequences()
        shape = rollout.mask
        return rollout.with_advantages(advantages[:, None] * shape, of_penalties[:, None] * shape)

    def _less_baseline(self, rewards: Tensor, penalties: Tensor) -> tuple[Tensor, Tensor]:
        """[B, K] advantages, and the part of them that the penalties alone make."""
        match self.args.baseline:
            case "leave_one_out":
                return leave_one_out(rewards), leave_one_out(penalties)
            case "group_standardized":
                advantages = group_standardized(rewards)
                centred = penalties - penalties.mean(1, keepdim=True)
                scale = rewards.std(1, keepdim=True)
                return advantages, torch.where(scale > 0, centred / scale, 0.0)
            case "running_mean":
                baseline = self._moved_mean(rewards)
                return rewards - baseline, penalties
            case "cumulative_mean":
                return rewards - self._mean_so_far(rewards), penalties
            case _:
                return rewards, penalties

    def _moved_mean(self, rewards: Tensor) -> Tensor | float:
        """The mean of earlier rollouts' rewards; this one counts from the next on."""
        new = rewards.mean().double()
        old = new if self.running_mean is None else self.running_mean
        decay = self.args.running_mean_decay
        self.running_mean = decay * old + (1 - decay) * new
        return old

    def _mean_so_far(self, rewards: Tensor) -> Tensor:
        """[B, K] each output's baseline, the outputs in their order."""
        flat = rewards.flatten()
        means = cumulative_means(
            flat, self.total, self.count, includes_own=self.args.baseline_includes_own
        )
        self.total = self.total + flat.double().sum()
        self.count += len(flat)
        return means.view_as(rewards)

    def state_dict(self) -> dict[str, Any]:
        """Also the means."""
        mean = None if self.running_mean is None else float(self.running_mean)
        means = {"running_mean": mean, "total": float(self.total), "count": self.count}
        return super().state_dict() | means

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Also the means."""
        super().load_state_dict(state)
        self.running_mean = state["running_mean"]
        self.total, self.count = state["total"], state["count"]
