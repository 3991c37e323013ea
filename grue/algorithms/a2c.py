"""Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783): one step per whole rollout."""

from __future__ import annotations

import torch

from grue.algorithms.args import A2cArgs
from grue.algorithms.policy_gradient import PolicyGradient
from grue.algorithms.running_means import RunningMeans
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
        """Return the number of outputs in a pass, whatever their width."""
        return OUTPUTS_IN_PASS

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return the optimizer: RMSprop as published, or AdamW."""
        if not self.args.use_rms_prop:
            return super().make_optimizer()
        return torch.optim.RMSprop(
            self.actor_critic.parameters(),
            lr=self.args.learning_rate,
            alpha=_RMSPROP_DECAY,
            eps=self.args.rms_prop_eps,
        )

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Make one step; the losses are means over all tokens used for training."""
        args, sums, num_tokens = self.args, RunningMeans(), rollout.num_tokens
        if args.normalize_advantage:
            rollout, _ = rollout.standardized()
        first = True
        for whole in rollout.sequential_batches(OUTPUTS_IN_PASS):
            batch = whole.of_this_rank()
            now = self.evaluate(batch)
            policy_loss = policy_gradient_loss(now.log_probs, batch.advantages)
            critic_loss = value_loss(now.values, batch.returns, batch.values)
            entropy_loss = self.entropy_loss(
                now, weight=args.ent_coef,
                estimated=args.enforce_token_entropy_reg_estimate,
            )  # fmt: skip
            penalty = args.ent_coef * entropy_loss
            kl_loss, kl = self.kl_terms(now, kl_coefficient)
            penalty = penalty + kl_loss
            if first:
                share = self.regularizer_gradient_share(now, penalty)
                first = False
            # The mean over the rollout is a sum of means, over passes and ranks.
            weight = batch.weight * len(whole) / num_tokens
            self.backward(weight * (policy_loss + penalty + args.vf_coef * critic_loss))
            measured = {"policy_gradient_loss": policy_loss, "value_loss": critic_loss,
                        "entropy_loss": entropy_loss, **kl}  # fmt: skip
            sums.add(weight, **{f"a2c/{name}": each for name, each in measured.items()})
        sums.add(**{"a2c/grad_norm": self.step(args.max_grad_norm),
                    "update_share/kl_and_entropy": share})  # fmt: skip
        return sums.compute(mean=False)
