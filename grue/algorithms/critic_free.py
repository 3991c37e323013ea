"""Policy gradients without a critic, put together from the tables of `grue.rl` by keys.

An advantage and its scale (`grue.rl.group_advantages`), a loss per token with a ratio
(`grue.rl.policy_losses`), its aggregation (`grue.rl.aggregation`) and a KL estimator (`grue.rl.kl`)
are independent of each other. GRPO, Dr. GRPO, DAPO, RLOO, REINFORCE++ and GSPO are rows of names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from common.machine.devices import sent
from grue import random_streams
from grue.algorithms.args import CriticFreeArgs
from grue.algorithms.output_advantages import OutputAdvantages
from grue.algorithms.policy_gradient import NUM_STEPS, SHARE, PolicyGradient, share_of_second
from grue.algorithms.running_means import RunningMeans
from grue.algorithms.token_evaluation import TokenEvaluation
from grue.algorithms.used_groups import used_groups, verdicts
from grue.random_streams import Occasion
from grue.rl.aggregation import aggregate, token_weights
from grue.rl.group_advantages import rewards_to_go, virtual_best
from grue.rl.policy_losses import policy_ratios, ratio_means, token_losses
from grue.rl.signed_advantages import (
    entropy_shaped,
    right_or_wrong,
    silent_signs,
    weighted_by_sign,
)
from grue.rl.token_positions import put_back
from grue.rollouts.batch import Rollout
from grue.rollouts.minibatch import Minibatch


class SupervisedLoss(Protocol):
    """Loss on references of labelled inputs, see `grue.supervised.reference_loss`."""

    def losses(self, draw: np.random.Generator, micro_batch_size: int | None) -> Iterator[Tensor]:
        """Yield [] this rank's parts of the loss of a new batch, which sum to it."""


class CriticFree(PolicyGradient[CriticFreeArgs]):
    """GRPO and its relatives: advantages from groups of outputs, any loss and aggregation."""

    Args = CriticFreeArgs

    supervised: SupervisedLoss | None = None
    """Loss on labelled inputs, for `sft_coeff`; None without one."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        has_scale = self.args.advantage_scale not in ("none", "unit")
        self.advantages = OutputAdvantages(
            self.args.advantage,
            scale=self.args.advantage_scale if has_scale else None,
            tolerance=self.args.zero_tol,
            decay=self.args.running_mean_decay,
        )

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Make the optimizer steps of a rollout; return metrics."""
        # 1. Advantages of all outputs; then groups may be left out.
        rollout = self._with_advantages(rollout)
        used = used_groups(self.args, rollout)
        if used is not None:
            rollout = rollout.only(used.repeat_interleave(self.args.num_samples_per_input))
        # 2. Steps, each on all outputs of some inputs, and on references of labelled ones.
        means, num_steps = RunningMeans(), 0
        labelled = random_streams.generator(Occasion.LABELLED, generator.initial_seed())
        for rows in self._rows_of_steps(rollout, generator):
            left = rows[rollout.num_used[rows] > 0]
            if len(left):  # not every group of the step is dropped
                self._add_gradient(rollout, rows, left, kl_coefficient, means)
            if self.supervised is not None:
                self._add_supervised_gradient(self.supervised, labelled, means)
            if len(left) or self.supervised is not None:
                norm = self.step(self.args.max_grad_norm)
                means.add(**{"policy/grad_norm": self._share_of_step * norm})
                num_steps += 1
        found = means.compute(mean=False) | {NUM_STEPS: float(num_steps)}
        if used is not None:
            found["groups/used"] = used.double().mean().item()
        return found

    def state_dict(self) -> dict[str, Any]:
        """Return the state, including that of baselines."""
        return super().state_dict() | self.advantages.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state, including that of baselines."""
        super().load_state_dict(state)
        self.advantages.load_state_dict(state)

    def _with_advantages(self, rollout: Rollout) -> Rollout:
        """Return the rollout with advantages as the keys say, and with their parts."""
        args = self.args
        of_task, of_penalties = self._advantages(rollout)
        of_task = weighted_by_sign(of_task, args.positive_weight, args.negative_weight)
        rollout = rollout.with_advantages(of_task + of_penalties, of_penalties)
        return rollout.standardized()[0] if args.advantage_scale == "unit" else rollout

    def _advantages(self, rollout: Rollout) -> tuple[Tensor, Tensor]:
        """Return [N, T] the task's and the penalties' parts of advantages."""
        args, mask = self.args, rollout.response_mask

        def on_tokens(of_outputs: Tensor) -> Tensor:
            return of_outputs.reshape(-1, 1) * mask

        # 1. Without a baseline a token has the penalties from it on.
        if args.advantage == "none":
            return rewards_to_go(rollout.task_rewards, mask), rollout.kl_advantages
        task = rollout.totals(args.num_samples_per_input)
        if args.advantage == "right_or_wrong":
            return on_tokens(right_or_wrong(task, args.best_reward)), rollout.kl_advantages
        # 2. With one, each has the whole output's, as a first token's advantage, not discounted.
        penalties = rollout.kl_advantages[:, 0].view_as(task)
        of_task, of_penalties = self.advantages(task, penalties, rollout.groups)
        if args.zero_std_groups == "virtual_best":
            of_task = virtual_best(task, args.best_reward, args.zero_tol)
        return on_tokens(of_task), on_tokens(of_penalties)

    def _rows_of_steps(self, rollout: Rollout, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield [n] the outputs of each optimizer step, all those of some inputs."""
        num_samples = self.args.num_samples_per_input
        for _ in range(self.args.n_epochs):
            order = torch.randperm(len(rollout) // num_samples, generator=generator)
            for inputs in order.tensor_split(self.args.num_minibatches):
                yield (inputs[:, None] * num_samples + torch.arange(num_samples)).flatten()

    @property
    def _share_of_step(self) -> float:
        """Share of an optimizer step in means over an update."""
        return 1 / (self.args.n_epochs * self.args.num_minibatches)

    def _add_gradient(
        self,
        rollout: Rollout,
        rows: Tensor,
        used: Tensor,
        kl_coefficient: float,
        means: RunningMeans,
    ) -> None:
        """Add the gradient of a step on some outputs, of those used, by micro-batches."""
        args, share = self.args, self._share_of_step
        weights, signs = self._weights(rollout, rows), self._silent_signs(rollout)
        num_tokens = int(rollout.num_used[used].sum())
        # In the first step the ratios are 1.
        is_first, squares = SHARE not in means, torch.zeros(2, device=self.policy.device)
        for part in used.split(args.micro_batch_size or len(used)):
            whole = rollout.minibatch(part)
            batch = whole.of_this_rank()
            terms = self._terms(batch, weights, signs)
            regularizer = terms.regularizer(args.ent_coef, kl_coefficient)
            if is_first:
                of_rest = terms.of_penalties + regularizer
                squares = squares + terms.now.squared_gradients(terms.of_task, of_rest)
            self.backward(terms.policy_loss + regularizer)
            means.add(share, **terms.losses())
            means.add(share * batch.weight * len(whole) / num_tokens, **terms.measured)
            means.add_largest(**{"ratio/max": terms.largest_ratio})
            del terms, regularizer  # and with them what they hold of the vocabulary
        if is_first:
            means.add(**{SHARE: share_of_second(squares)})

    def _add_supervised_gradient(
        self, supervised: SupervisedLoss, draw: np.random.Generator, means: RunningMeans
    ) -> None:
        """Add the gradient of the loss on newly drawn references."""
        total = torch.zeros((), device=self.policy.device)
        for loss in supervised.losses(draw, self.args.micro_batch_size):
            self.backward(self.args.sft_coeff * loss)
            total += loss.detach()
        means.add(self._share_of_step, **{"policy/sft_loss": total})

    def _weights(self, rollout: Rollout, rows: Tensor) -> Tensor:
        """Return [N] the weights of the tokens of a step's outputs, zero for other outputs."""
        args = self.args
        lengths = torch.tensor([len(rollout.outputs[row]) for row in rows.tolist()])
        if not args.count_dropped:
            is_used = rollout.num_used[rows] > 0
            rows, lengths = rows[is_used], lengths[is_used]
        of_step = lengths.view(-1, args.num_samples_per_input)
        found = torch.zeros(len(rollout))
        if len(rows):
            weights = token_weights(args.aggregate, of_step, rollout.longest)
            found[rows] = weights.flatten().float()
        return sent(found, rollout.response_mask.device)

    def _silent_signs(self, rollout: Rollout) -> Tensor | None:
        """Return [N] the signs of outputs of silent groups, for `entropy_shaped`; None without."""
        args = self.args
        if args.zero_std_groups != "entropy_shaped":
            return None
        signs = silent_signs(verdicts(args, rollout), args.best_reward).to(rollout.task_rewards)
        return signs.repeat_interleave(args.num_samples_per_input)

    def _terms(self, batch: Minibatch, weights: Tensor, signs: Tensor | None) -> _Terms:
        """Return the terms of a micro-batch's loss.

        ``weights`` [N] are those of the step's outputs, ``signs`` [N] those of silent ones.
        """
        args, now = self.args, self.evaluate(batch)
        mask = sent(batch.loss_mask, now.log_probs.device)
        # Losses of micro-batches and ranks add up; a rank without an output of its own adds 0.
        of_rows = weights[batch.rows] * (batch.weight > 0)

        def on_grid(values: Tensor) -> Tensor:
            return put_back(values, batch.loss_mask)

        def summed(losses: Tensor) -> Tensor:
            return aggregate(losses, mask, of_rows)

        # 1. Tokens [n, T], and their advantages.
        new, old = on_grid(now.log_probs), on_grid(batch.log_probs)
        advantages, of_penalties = on_grid(batch.advantages), on_grid(batch.kl_advantages)
        entropies = on_grid(now.entropy(with_gradient=args.ent_coef != 0))
        if signs is not None:
            shaped = entropy_shaped(entropies, mask, signs[batch.rows])
            advantages = advantages + args.entropy_alpha * shaped
        # 2. Their losses.
        ratios = policy_ratios(new, old, mask, args.ratio)
        losses = token_losses(args.policy_loss, new, ratios, advantages, args.clip_ranges)
        kl = None if self.kl_of_loss is None else on_grid(now.kl(self.kl_of_loss))
        return _Terms(
            now=now,
            policy_loss=summed(losses),
            entropy_loss=summed(-entropies),
            kl_loss=None if kl is None else summed(kl),
            of_task=summed(-(advantages - of_penalties) * new),
            of_penalties=summed(-of_penalties * new),
            measured=self._measured(now, ratios.detach(), advantages),
            largest_ratio=batch.counted(ratios.detach()).max(),
        )

    def _measured(
        self, now: TokenEvaluation, ratios: Tensor, advantages: Tensor
    ) -> dict[str, Tensor]:
        """Return means over the tokens of a micro-batch, from ratios and advantages [n, T]."""
        counted = now.batch.counted
        found = ratio_means(counted(ratios), counted(advantages), *self.args.clip_ranges)
        return found | self.kl_estimates(now)


@dataclass(frozen=True)
class _Terms:
    """Terms of a micro-batch's loss, all [] and sums by the weights of the aggregation."""

    now: TokenEvaluation
    """Policy at the tokens of the micro-batch."""
    policy_loss: Tensor
    entropy_loss: Tensor
    """Negated entropy."""
    kl_loss: Tensor | None
    """KL before its coefficient; None where the reward has it."""
    of_task: Tensor
    """Policy gradient of the task's rewards alone."""
    of_penalties: Tensor
    """Policy gradient of the penalties in the rewards alone."""
    measured: dict[str, Tensor]
    """Means over tokens by metric name."""
    largest_ratio: Tensor

    def regularizer(self, ent_coef: float, kl_coefficient: float) -> Tensor:
        """Return [] the entropy and KL losses with their coefficients."""
        entropy = ent_coef * self.entropy_loss
        return entropy if self.kl_loss is None else entropy + kl_coefficient * self.kl_loss

    def losses(self) -> dict[str, Tensor]:
        """Return the losses by metric name."""
        found = {"policy/loss": self.policy_loss, "policy/entropy_loss": self.entropy_loss}
        return found if self.kl_loss is None else found | {"policy/kl_loss": self.kl_loss}
