"""REINFORCE over whole outputs (Williams 1992), with baselines such as those of RLOO and GRPO.

The gradient is the mean over outputs of sum_t (R - b) grad log pi(a_t). R is an output's total
reward, including KL penalties that are rewards, and b is a baseline. If b does not depend on the
output, the estimate of the gradient of the expected reward is unbiased. If the reward has a
standard deviation sigma, R - b may be multiplied by 1 / (1 + sigma).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from grue.algorithms.args import ReinforceArgs
from grue.algorithms.policy_gradient import PolicyGradient
from grue.algorithms.running_means import RunningMeans
from grue.rl.advantages import (
    cumulative_means,
    group_standardized,
    leave_one_out,
    uncertainty_weighted,
)
from grue.rl.losses import policy_gradient_loss
from grue.rl.numeric_equality import centred, less
from grue.rollouts.batch import Rollout


class Reinforce(PolicyGradient[ReinforceArgs]):
    """REINFORCE, the plain policy gradient; needs no critic."""

    Args = ReinforceArgs

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.running_means: Tensor | None = None
        """[2] exponential means of the task's rewards and of the penalties over rollouts."""
        self.totals, self.count = torch.zeros(2, dtype=torch.float64), 0
        """[2] sums of both over all outputs so far, and the number of outputs."""

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Make one step per minibatch of the rollout; return metrics."""
        args, means, first = self.args, RunningMeans(), True
        rollout = self._with_baseline(rollout)
        for _ in range(args.n_epochs):
            for whole in rollout.minibatches(args.batch_size, generator):
                batch = whole.of_this_rank()
                now = self.evaluate(batch)
                entropy_loss = self.entropy_loss(now, weight=args.ent_coef)
                penalty = args.ent_coef * entropy_loss
                kl_loss, kl = self.kl_terms(now, kl_coefficient)
                penalty = penalty + kl_loss
                if first:
                    share = self.regularizer_gradient_share(now, penalty)
                    means.add(**{"update_share/kl_and_entropy": share})
                    first = False
                # Sums over tokens, means over outputs.
                per_output = len(whole) / len(whole.loss_mask)
                policy_loss = per_output * policy_gradient_loss(now.log_probs, batch.advantages)
                self.backward(batch.weight * (policy_loss + per_output * penalty))
                norm = self.step(args.max_grad_norm)
                measured = {"policy_gradient_loss": policy_loss, "entropy_loss": entropy_loss, **kl}
                means.add(
                    batch.weight, **{f"reinforce/{name}": each for name, each in measured.items()}
                )
                means.add(**{"reinforce/grad_norm": norm})
        return means.compute()

    def _with_baseline(self, rollout: Rollout) -> Rollout:
        """Return the rollout with each output's reward minus the baseline as advantages."""
        task = (
            (rollout.task_rewards * rollout.response_mask)
            .sum(1)
            .view(-1, self.args.num_samples_per_input)
        )
        # What a first token's advantage has of the penalties, without discount: all of them.
        penalties = rollout.kl_advantages[:, 0].view_as(task)
        of_task, of_penalties = (part.reshape(-1) for part in self._less_baseline(task, penalties))
        if self.args.advantage_regularization == "one_over_one_plus_std":
            assert rollout.reward_stds is not None, "asked for in the settings of rollouts"
            of_task, of_penalties = (
                uncertainty_weighted(part, rollout.reward_stds) for part in (of_task, of_penalties)
            )
        if self.args.log_prob_of == "sequence":
            rollout = rollout.of_whole_sequences()
        of_task, of_penalties = (
            part[:, None] * rollout.response_mask for part in (of_task, of_penalties)
        )
        return rollout.with_advantages(of_task + of_penalties, of_penalties)

    def _less_baseline(self, task: Tensor, penalties: Tensor) -> tuple[Tensor, Tensor]:
        """Return [B, K] the task's and the penalties' parts of the advantages."""
        match self.args.baseline:
            case "leave_one_out":
                return leave_one_out(task), leave_one_out(penalties)
            case "group_standardized":  # the deviation is that of the task, and divides it alone
                return group_standardized(task), centred(penalties)
            case "running_mean":
                parts = torch.stack([task, penalties])
                of_task, of_penalties = less(parts, self._moved_means(parts))
                return of_task, of_penalties
            case "cumulative_mean":
                parts = torch.stack([task, penalties])
                of_task, of_penalties = less(parts, self._means_so_far(parts))
                return of_task, of_penalties
            case _:
                return task, penalties

    def _moved_means(self, parts: Tensor) -> Tensor:
        """Return [2, B, K] the means of earlier rollouts' parts.

        This rollout is included from the next one on.
        """
        new = parts.double().mean((1, 2))
        old = new if self.running_means is None else self.running_means.to(new)
        decay = self.args.running_mean_decay
        self.running_means = decay * old + (1 - decay) * new
        return old.to(parts)[:, None, None].expand_as(parts)

    def _means_so_far(self, parts: Tensor) -> Tensor:
        """Return [2, B, K] each output's baselines, with the outputs in order."""
        flat = parts.flatten(1)
        totals = self.totals.to(flat.device)
        means = [
            cumulative_means(part, total, self.count, includes_own=self.args.baseline_includes_own)
            for part, total in zip(flat, totals, strict=True)
        ]
        self.totals = totals + flat.double().sum(1)
        self.count += flat.shape[1]
        return torch.stack(means).view_as(parts)

    def state_dict(self) -> dict[str, Any]:
        """Restore the state, including the means."""
        means = None if self.running_means is None else self.running_means.tolist()
        own = {"running_means": means, "totals": self.totals.tolist(), "count": self.count}
        return super().state_dict() | own

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state, including the means."""
        super().load_state_dict(state)
        means = state["running_means"]
        self.running_means = None if means is None else torch.tensor(means, dtype=torch.float64)
        self.totals = torch.tensor(state["totals"], dtype=torch.float64)
        self.count = state["count"]
