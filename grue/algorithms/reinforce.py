"""REINFORCE over whole outputs (Williams 1992), with baselines such as those of RLOO and GRPO.

The gradient is the mean over outputs of sum_t (R - b) grad log pi(a_t). R is an output's total
reward, including KL penalties that are rewards, and b is a baseline. If b does not depend on the
output, the estimate of the gradient of the expected reward is unbiased. If the reward has a
standard deviation sigma, R - b may be multiplied by 1 / (1 + sigma).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from grue.algorithms.args import ReinforceArgs
from grue.algorithms.output_advantages import OutputAdvantages
from grue.algorithms.policy_gradient import Losses, PolicyGradient
from grue.algorithms.running_means import RunningMeans
from grue.algorithms.token_evaluation import TokenEvaluation
from grue.rl.advantages import uncertainty_weighted
from grue.rl.losses import policy_gradient_loss
from grue.rollouts.batch import Rollout


class Reinforce(PolicyGradient[ReinforceArgs]):
    """REINFORCE, the plain policy gradient; needs no critic."""

    Args = ReinforceArgs

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        is_standardized = self.args.baseline == "group_standardized"
        self.advantages = OutputAdvantages(
            "group" if is_standardized else self.args.baseline,
            scale="bare_group_std" if is_standardized else None,
            decay=self.args.running_mean_decay,
            includes_own=self.args.baseline_includes_own,
        )

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Make one step per minibatch of the rollout; return metrics."""
        args, means = self.args, RunningMeans()
        # 1. Advantages of whole outputs.
        rollout = self._with_baseline(rollout)
        for _ in range(args.n_epochs):
            for batch in rollout.minibatches(args.batch_size, generator):
                # 2. The gradients: sums over tokens, means over outputs.
                per_output = len(batch) / len(batch.loss_mask)
                losses_of = partial(
                    self._losses, kl_coefficient=kl_coefficient, per_output=per_output
                )
                first = not len(means)
                means.merge(self.accumulate(batch, losses_of, weight=per_output, with_share=first))
                # 3. The step.
                means.add(**{"reinforce/grad_norm": self.step(args.max_grad_norm)})
        return means.compute()

    def _losses(self, now: TokenEvaluation, *, kl_coefficient: float, per_output: float) -> Losses:
        """Return the losses of some outputs; the policy's is told ``per_output``."""
        policy_loss = policy_gradient_loss(now.log_probs, now.batch.advantages)
        entropy_loss = self.entropy_loss(now, weight=self.args.ent_coef)
        kl_loss, kl = self.kl_terms(now, kl_coefficient)
        measured = {"policy_gradient_loss": per_output * policy_loss,
                    "entropy_loss": entropy_loss, **kl}  # fmt: skip
        return Losses(
            policy=policy_loss,
            regularizer=self.args.ent_coef * entropy_loss + kl_loss,
            measured={f"reinforce/{name}": each for name, each in measured.items()}
            | ({} if self.args.log_prob_of == "sequence" else self.kl_estimates(now)),
        )

    def _with_baseline(self, rollout: Rollout) -> Rollout:
        """Return the rollout with each output's reward minus the baseline as advantages."""
        task = rollout.totals(self.args.num_samples_per_input)
        # What a first token's advantage has of the penalties, without discount: all of them.
        penalties = rollout.kl_advantages[:, 0].view_as(task)
        of_task, of_penalties = (part.reshape(-1) for part in self.advantages(task, penalties))
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

    def state_dict(self) -> dict[str, Any]:
        """Return the state, including that of baselines."""
        return super().state_dict() | self.advantages.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state, including that of baselines."""
        super().load_state_dict(state)
        self.advantages.load_state_dict(state)
