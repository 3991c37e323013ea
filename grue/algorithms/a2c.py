"""Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783): one step per whole rollout."""

from __future__ import annotations

from functools import partial

import torch

from common.training.optimizers import RMSprop
from grue.algorithms.args import A2cArgs
from grue.algorithms.policy_gradient import Losses, PolicyGradient
from grue.algorithms.running_means import RunningMeans
from grue.algorithms.token_evaluation import TokenEvaluation
from grue.rl.losses import policy_gradient_loss, value_loss
from grue.rollouts.batch import Rollout

OUTPUTS_IN_PASS = 16
"""Number of outputs in one pass; the gradients of all passes are summed for the step."""
_RMSPROP_DECAY = 0.99


class A2c(PolicyGradient[A2cArgs]):
    """A2C: policy-gradient steps with the critic's advantages."""

    Args = A2cArgs

    @classmethod
    def outputs_in_pass(cls, width: int) -> int:
        """Return the largest number of outputs in a pass, whatever their width."""
        return OUTPUTS_IN_PASS

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimizer: RMSprop as published, or AdamW."""
        if not self.args.use_rms_prop:
            return super().make_optimizer()
        return RMSprop(
            self.actor_critic.parameters(),
            lr=self.args.learning_rate,
            alpha=_RMSPROP_DECAY,
            eps=self.args.rms_prop_eps,
        )

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Make one step; the losses are means over all tokens used for training."""
        args, means, num_tokens = self.args, RunningMeans(), rollout.num_tokens
        if args.normalize_advantage:
            rollout, _ = rollout.standardized()
        # 1. The gradients; the mean over the rollout is a sum of means over passes.
        for batch in rollout.sequential_batches(OUTPUTS_IN_PASS):
            losses_of = partial(self._losses, kl_coefficient=kl_coefficient)
            weight, first = len(batch) / num_tokens, not len(means)
            means.merge(self.accumulate(batch, losses_of, weight=weight, with_share=first))
        # 2. The step.
        means.add(**{"a2c/grad_norm": self.step(args.max_grad_norm)})
        return means.compute()

    def _losses(self, now: TokenEvaluation, *, kl_coefficient: float) -> Losses:
        """Return the losses of some outputs."""
        args, batch = self.args, now.batch
        policy_loss = policy_gradient_loss(now.log_probs, batch.advantages)
        critic_loss = value_loss(now.values, batch.returns, batch.values)
        entropy_loss = self.entropy_loss(
            now, weight=args.ent_coef, estimated=args.enforce_token_entropy_reg_estimate
        )
        kl_loss, kl = self.kl_terms(now, kl_coefficient)
        measured = {"policy_gradient_loss": policy_loss, "value_loss": critic_loss,
                    "entropy_loss": entropy_loss, **kl}  # fmt: skip
        return Losses(
            policy=policy_loss,
            regularizer=args.ent_coef * entropy_loss + kl_loss,
            critic=args.vf_coef * critic_loss,
            measured={f"a2c/{name}": each for name, each in measured.items()}
            | self.kl_estimates(now),
        )
