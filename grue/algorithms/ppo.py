"""Proximal policy optimization (Schulman et al. 2017, arXiv 1707.06347) over whole sequences."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import ClassVar

import torch

from grue.algorithms.args import PpoArgs
from grue.algorithms.policy_gradient import Losses, PolicyGradient
from grue.algorithms.running_means import RunningMeans
from grue.algorithms.token_evaluation import TokenEvaluation
from grue.rl.gradient_noise import gradient_moments
from grue.rl.kl import kl_k3, probability_ratio
from grue.rl.losses import explained_variance, policy_gradient_loss, value_loss
from grue.rl.policy_losses import clipped, ratio_means
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
        return {
            name if "/" in name else f"{self.metric_prefix}{name}": value
            for name, value in means.compute().items()
        }

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
                # 1. Advantages among the minibatch's.
                scale: torch.Tensor | float = 1.0
                if args.normalize_advantage:
                    batch, scale = batch.standardized()
                # 2. The gradients.
                losses_of = partial(self._losses, kl_coefficient=kl_coefficient, scale=scale)
                found = self.accumulate(batch, losses_of, with_share=first)
                first = False
                # 3. Far from the policy that drew the tokens, the update ends.
                if self._is_far(found):
                    self.optimizer.zero_grad(set_to_none=True)
                    means.merge(found.only("approx_kl"))
                    return
                # 4. The step.
                means.merge(found)
                means.add(grad_norm=self.step(args.max_grad_norm))

    def _losses(
        self, now: TokenEvaluation, *, kl_coefficient: float, scale: torch.Tensor | float
    ) -> Losses:
        """Return the losses of a part of a minibatch whose advantages ``scale`` divides."""
        args, batch = self.args, now.batch
        ratios = probability_ratio(now.log_probs, batch.log_probs)
        surrogate = ratios, batch.advantages, args.clip_range, args.clip_range
        policy_loss = clipped(now.log_probs, *surrogate).mean()
        critic_loss = value_loss(now.values, batch.returns, batch.values, args.clip_range_vf)
        entropy_loss = self.entropy_loss(
            now, weight=args.ent_coef, estimated=args.enforce_token_entropy_reg_estimate
        )
        kl_loss, kl = self.kl_terms(now, kl_coefficient, scale)
        return Losses(
            policy=policy_loss,
            regularizer=args.ent_coef * entropy_loss + kl_loss,
            critic=args.vf_coef * critic_loss,
            measured={
                "approx_kl": kl_k3(batch.log_probs, now.log_probs.detach()).mean(),
                "policy_gradient_loss": policy_loss, "value_loss": critic_loss,
                "entropy_loss": entropy_loss, **kl, **self.kl_estimates(now),
                **ratio_means(*surrogate),
            },
            largest={"ratio/max": ratios.max()},
        )  # fmt: skip

    def _is_far(self, found: RunningMeans) -> bool:
        """Return whether the mean KL over a minibatch ends the update."""
        target = self.args.target_kl
        return target is not None and found.compute()["approx_kl"] > _EARLY_STOP * target

    def _gradient_noise(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, torch.Tensor]:
        """Return the deviation of the policy's gradient over the minibatches of the first pass."""
        same_order = torch.Generator().set_state(generator.get_state())
        batches = rollout.minibatches(self.args.batch_size, same_order, self.unit)
        losses = (self._policy_losses(batch, kl_coefficient) for batch in batches)
        trained = [weight for weight in self.policy.model.parameters() if weight.requires_grad]
        return gradient_moments(losses, trained)

    def _policy_losses(self, batch: Minibatch, kl_coefficient: float) -> Iterator[torch.Tensor]:
        """Yield [] this rank's parts of the loss of reward and KL, in units of the reward."""
        for part in batch.parts(self.args.micro_batch_size):
            now = self.evaluate(part)
            of_rewards = policy_gradient_loss(now.log_probs, part.advantages)
            yield part.weight * (of_rewards + self.kl_loss(now, kl_coefficient))
