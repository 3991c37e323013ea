"""PPO of "Fine-Tuning Language Models from Human Preferences" (Ziegler et al. 2019, 1909.08593).

It differs from `grue.algorithms.ppo`: minibatches are equal shares of the outputs; rewards and
advantages are whitened, and advantages estimated, within each of them; the critic's loss is the
larger of two errors; no update ends early.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from grue.algorithms.args import HumanPreferencesPpoArgs
from grue.algorithms.policy_gradient import Losses, PolicyGradient
from grue.algorithms.running_means import RunningMeans
from grue.algorithms.token_evaluation import TokenEvaluation
from grue.rl.kl import kl_k2, probability_ratio
from grue.rl.losses import clipped_value_loss, returns_vary
from grue.rl.policy_losses import clipped, ratio_means
from grue.rl.whitening import whitened_estimates
from grue.rollouts.batch import Rollout
from grue.rollouts.minibatch import Minibatch


class HumanPreferencesPpo(PolicyGradient[HumanPreferencesPpoArgs]):
    """PPO with several passes over whole outputs; statistics have the published names."""

    Args = HumanPreferencesPpoArgs

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Improve policy and critic on a rollout; return means over all minibatches."""
        args, means = self.args, RunningMeans()
        losses_of = partial(self._losses, kl_coefficient=kl_coefficient)
        for _ in range(args.n_epochs):
            order = torch.randperm(len(rollout), generator=generator)
            for rows in order.tensor_split(args.nminibatches):
                # 1. The gradients of the parts, each whitened separately.
                for part in rows.tensor_split(args.gradient_accumulation_steps):
                    batch, first = self._batch(rollout, part), not len(means)
                    means.add(**dict(_moments(batch)))
                    weight = 1 / args.gradient_accumulation_steps
                    means.merge(self.accumulate(batch, losses_of, weight=weight, with_share=first))
                # 2. The step.
                means.add(**{"ppo/grad_norm": self.step(args.max_grad_norm)})
        found = means.compute()
        variance = found["ppo/returns/var"]
        explained = 1 - found["ppo/val/error"] / variance if variance else float("nan")
        return found | {
            "ppo/val/var_explained": explained,
            "ppo/lr": self.optimizer.param_groups[0]["lr"],
        }

    def _batch(self, rollout: Rollout, rows: Tensor) -> Minibatch:
        """Return the outputs at ``rows``, with advantages estimated among them alone."""
        batch = rollout.minibatch(rows)
        width = batch.loss_mask.shape[1]
        rewards, task_rewards, values = (
            of[batch.rows, :width] for of in (rollout.rewards, rollout.task_rewards, rollout.values)
        )
        found = whitened_estimates(
            task_rewards,
            rewards - task_rewards,
            values,
            batch.loss_mask,
            gamma=self.args.gamma,
            gae_lambda=self.args.gae_lambda,
            whiten_rewards=self.args.whiten_rewards,
        )
        return replace(
            batch,
            advantages=batch.counted(found.advantages),
            kl_advantages=batch.counted(found.kl_advantages),
            task_advantages=batch.counted(found.task_advantages),
            returns=batch.counted(found.returns),
        )

    def _losses(self, now: TokenEvaluation, *, kl_coefficient: float) -> Losses:
        """Return L_policy, vf_coef L_value and ent_coef L_entropy of a part, with their terms."""
        args, batch = self.args, now.batch
        ratios = probability_ratio(now.log_probs, batch.log_probs)
        surrogate = ratios, batch.advantages, args.clip_range, args.clip_range
        policy_loss = clipped(now.log_probs, *surrogate).mean()
        critic_loss, clipped_values = clipped_value_loss(
            now.values, batch.returns, batch.values, args.clip_range_vf
        )
        entropy_loss = self.entropy_loss(
            now, weight=args.ent_coef, estimated=args.enforce_token_entropy_reg_estimate
        )
        kl_loss, kl = self.kl_terms(now, kl_coefficient)
        regularizer = args.ent_coef * entropy_loss + kl_loss
        of_ratios = ratio_means(*surrogate)
        return Losses(
            policy=policy_loss,
            regularizer=regularizer,
            critic=args.vf_coef * critic_loss,
            measured={
                "ppo/loss/policy": policy_loss,
                "ppo/loss/value": critic_loss,
                "ppo/loss/total": policy_loss + args.vf_coef * critic_loss + regularizer,
                **({"ppo/loss/kl": kl["kl_loss"]} if kl else {}),
                "ppo/policy/entropy": -entropy_loss,
                "ppo/policy/clipfrac": of_ratios["clip_share/low"] + of_ratios["clip_share/high"],
                "ppo/policy/approxkl": kl_k2(now.log_probs, batch.log_probs).mean(),
                "ppo/val/clipfrac": clipped_values,
                "ppo/val/vpred": now.values.mean(),
                "ppo/val/error": (now.values - batch.returns).square().mean(),
                **of_ratios, **self.kl_estimates(now),
            },
            largest={"ratio/max": ratios.max()},
        )  # fmt: skip


def _moments(batch: Minibatch) -> Iterator[tuple[str, Tensor]]:
    """Yield means and variances of values, returns and advantages of a minibatch's M tokens."""
    yield "ppo/returns/mean", batch.returns.mean()
    variance, vary = batch.returns.var(correction=0), returns_vary(batch.values, batch.returns)
    yield "ppo/returns/var", torch.where(vary, variance, 0.0)
    yield "ppo/val/mean", batch.values.mean()
    yield "ppo/val/var", batch.values.var(correction=0)
