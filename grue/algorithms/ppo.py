"""Proximal policy optimization (Schulman et al. 2017, arXiv 1707.06347) over whole sequences."""

from __future__ import annotations

from typing import ClassVar

import torch

from common import distributed
from grue.algorithms.args import PpoArgs
from grue.algorithms.policy_gradient import PolicyGradient
from grue.algorithms.running_means import RunningMeans
from grue.rl.gradient_noise import gradient_moments
from grue.rl.losses import (
    approximate_kl,
    clipped_policy_loss,
    explained_variance,
    policy_gradient_loss,
    value_loss,
)
from grue.rollouts.batch import Rollout
from grue.rollouts.minibatch import Minibatch

_EARLY_STOP = 1.5
"""Multiple of ``target_kl`` beyond which the approximate KL ends an update."""


class Ppo(PolicyGradient[PpoArgs]):
    """PPO: several passes over a rollout, in minibatches, with a clipped surrogate."""

    Args = PpoArgs
    metric_prefix: ClassVar[str] = "ppo/"
    """Prefix of the update's metric names."""

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Improve policy and critic on a rollout; return the metrics."""
        means = RunningMeans()
        if self.args.measure_gradient_noise:
            means.add(**self._gradient_noise(rollout, kl_coefficient, generator))
        self._passes(rollout, kl_coefficient, generator, means)
        explained = explained_variance(*map(rollout.counted, (rollout.values, rollout.returns)))
        means.add(explained_variance=explained)
        found = means.compute()
        shares = {name: found.pop(name) for name in list(found) if "/" in name}
        return {f"{self.metric_prefix}{name}": value for name, value in found.items()} | shares

    def _is_far(self, batch: Minibatch, distance: torch.Tensor) -> bool:
        """Return whether the mean KL over all ranks' parts of a minibatch ends the update."""
        if self.args.target_kl is None:
            return False
        everywhere = distributed.all_reduce_sum(batch.weight * distance)
        return bool(everywhere > _EARLY_STOP * self.args.target_kl)

    def _gradient_noise(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Return the deviation of the policy's gradient over the minibatches of the first pass."""
        same_order = torch.Generator().set_state(generator.get_state())
        batches = rollout.minibatches(self.args.batch_size, same_order, self.unit)
        losses = (self._policy_loss(batch, kl_coefficient) for batch in batches)
        trained = [weight for weight in self.policy.model.parameters() if weight.requires_grad]
        return gradient_moments(losses, trained)

    def _policy_loss(self, batch: Minibatch, kl_coefficient: float) -> torch.Tensor:
        """Return [] this rank's part of the loss of reward and KL, in units of the reward."""
        batch = batch.of_this_rank()
        now = self.evaluate(batch)
        of_rewards = policy_gradient_loss(now.log_probs, batch.advantages)
        return batch.weight * (of_rewards + self.kl_loss(now, kl_coefficient))

    def _passes(
        self,
        rollout: Rollout,
        kl_coefficient: float,
        generator: torch.Generator,
        means: RunningMeans,
    ) -> None:
        args, first = self.args, True
        for _ in range(args.n_epochs):
            means.reset("approx_kl")  # the last pass alone counts
            for batch in rollout.minibatches(args.batch_size, generator, self.unit):
                scale: torch.Tensor | float = 1.0
                if args.normalize_advantage:
                    batch, scale = batch.standardized()
                # 1. What policy and critic say now; each rank has its part of the minibatch.
                batch = batch.of_this_rank()
                now = self.evaluate(batch)
                # 2. Far from the policy that drew the tokens, the update ends.
                distance = approximate_kl(now.log_probs.detach(), batch.log_probs)
                means.add(batch.weight, approx_kl=distance)
                if self._is_far(batch, distance):
                    return
                # 3. The losses.
                policy_loss = clipped_policy_loss(
                    now.log_probs, batch.log_probs, batch.advantages, args.clip_range
                )
                critic_loss = value_loss(
                    now.values, batch.returns, batch.values, args.clip_range_vf
                )
                entropy_loss = self.entropy_loss(
                    now, weight=args.ent_coef,
                    estimated=args.enforce_token_entropy_reg_estimate,
                )  # fmt: skip
                penalty = args.ent_coef * entropy_loss
                kl_loss, kl = self.kl_terms(now, kl_coefficient, scale)
                penalty = penalty + kl_loss
                if first:  # here the surrogate is the plain policy gradient
                    share = self.regularizer_gradient_share(now, penalty)
                    means.add(**{"update_share/kl_and_entropy": share})
                    first = False
                # 4. The step.
                self.backward(batch.weight * (policy_loss + penalty + args.vf_coef * critic_loss))
                del now  # what it holds of the vocabulary, before there is more of the kind
                norm = self.step(args.max_grad_norm)
                means.add(batch.weight, policy_gradient_loss=policy_loss, value_loss=critic_loss,
                          entropy_loss=entropy_loss, **kl)  # fmt: skip
                means.add(grad_norm=norm)
