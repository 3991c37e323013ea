"""Policy gradients without a critic, put together from the tables of `grue.rl` by keys.

An advantage and its scale (`grue.rl.group_advantages`), a loss per token with a ratio
(`grue.rl.policy_losses`), its aggregation (`grue.rl.aggregation`) and a KL estimator (`grue.rl.kl`)
are independent of each other. GRPO, Dr. GRPO, RLOO, REINFORCE++ and GSPO are rows of their names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.machine.devices import sent
from grue.algorithms.args import CriticFreeArgs
from grue.algorithms.output_advantages import OutputAdvantages
from grue.algorithms.policy_gradient import PolicyGradient
from grue.algorithms.running_means import RunningMeans
from grue.algorithms.token_evaluation import TokenEvaluation
from grue.rl.aggregation import aggregate, token_weights
from grue.rl.group_advantages import (
    deviates,
    rewards_to_go,
    virtual_best,
)
from grue.rl.policy_losses import POLICY_LOSSES, policy_ratios, ratio_means
from grue.rl.token_positions import put_back
from grue.rollouts.batch import Rollout
from grue.rollouts.minibatch import Minibatch


class CriticFree(PolicyGradient[CriticFreeArgs]):
    """GRPO and its relatives: advantages from groups of outputs, any loss and aggregation."""

    Args = CriticFreeArgs

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
        # 1. Advantages of all outputs; then groups without deviation may be left out.
        rollout = self._with_advantages(rollout)
        if self.args.zero_std_groups == "drop":
            size = self.args.num_samples_per_input
            mixed = deviates(rollout.task_rewards.sum(1).view(-1, size), self.args.zero_tol)
            rollout = rollout.only(mixed.repeat_interleave(size))
        # 2. Steps, each on all outputs of some inputs.
        means = RunningMeans()
        for rows in self._rows_of_steps(rollout, generator):
            self._step(rollout, rows, kl_coefficient, means)
        return means.compute(mean=False)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, including that of baselines."""
        return super().state_dict() | self.advantages.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state, including that of baselines."""
        super().load_state_dict(state)
        self.advantages.load_state_dict(state)

    def _with_advantages(self, rollout: Rollout) -> Rollout:
        """Return the rollout with advantages of whole outputs, or of each token on."""
        args, mask = self.args, rollout.response_mask
        if args.advantage == "none":
            of_task, of_penalties = rewards_to_go(rollout.task_rewards, mask), rollout.kl_advantages
        else:
            task = rollout.task_rewards.sum(1).view(-1, args.num_samples_per_input)
            # A first token's advantage has all penalties, without discount.
            penalties = rollout.kl_advantages[:, 0].view_as(task)
            parts = self.advantages(task, penalties)
            if args.zero_std_groups == "virtual_best":
                parts = virtual_best(task, args.best_reward, args.zero_tol), parts[1]
            of_task, of_penalties = (part.reshape(-1, 1) * mask for part in parts)
        rollout = rollout.with_advantages(of_task + of_penalties, of_penalties)
        return rollout.standardized()[0] if args.advantage_scale == "unit" else rollout

    def _rows_of_steps(self, rollout: Rollout, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield [n] the outputs of each optimizer step, all those of some inputs."""
        num_samples = self.args.num_samples_per_input
        for _ in range(self.args.n_epochs):
            order = torch.randperm(len(rollout) // num_samples, generator=generator)
            for inputs in order.tensor_split(self.args.num_minibatches):
                yield (inputs[:, None] * num_samples + torch.arange(num_samples)).flatten()

    def _step(
        self, rollout: Rollout, rows: Tensor, kl_coefficient: float, means: RunningMeans
    ) -> None:
        """Make one optimizer step on some outputs, micro-batch by micro-batch."""
        args = self.args
        weights = self._weights(rollout, rows)
        used = rows[rollout.num_used[rows] > 0]
        if not len(used):  # every group of the step is dropped
            return
        num_tokens = int(rollout.num_used[used].sum())
        share = 1 / (args.n_epochs * args.num_minibatches)
        for part in used.split(args.micro_batch_size or len(used)):
            whole = rollout.minibatch(part)
            batch = whole.of_this_rank()
            terms = self._terms(batch, weights)
            regularizer = terms.regularizer(args.ent_coef, kl_coefficient)
            if not len(means):  # here the ratios are 1
                of_rest = terms.of_penalties + regularizer
                found = self.gradient_share(terms.now, terms.of_task, of_rest)
                means.add(**{"update_share/kl_and_entropy": found})
            self.backward(terms.policy_loss + regularizer)
            means.add(share, **terms.losses())
            means.add(share * batch.weight * len(whole) / num_tokens, **terms.measured)
            means.add_largest(**{"ratio/max": terms.largest_ratio})
            del terms, regularizer  # and with them what they hold of the vocabulary
        means.add(**{"policy/grad_norm": share * self.step(args.max_grad_norm)})

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

    def _terms(self, batch: Minibatch, weights: Tensor) -> _Terms:
        """Return the terms of a micro-batch's loss, with the weights [N] of the step's outputs."""
        args = self.args
        now = self.evaluate(batch)

        def on_grid(values: Tensor) -> Tensor:
            return put_back(values, batch.loss_mask)

        mask = sent(batch.loss_mask, now.log_probs.device)
        # Losses of micro-batches and ranks add up; a rank without an output of its own adds 0.
        of_rows = weights[batch.rows] * (batch.weight > 0)

        def summed(losses: Tensor) -> Tensor:
            return aggregate(losses, mask, of_rows)

        new, old, advantages, of_penalties = map(
            on_grid, (now.log_probs, batch.log_probs, batch.advantages, batch.kl_advantages)
        )
        ratios = policy_ratios(new, old, mask, args.ratio)
        losses = POLICY_LOSSES[args.policy_loss](new, ratios, advantages, *args.clip_ranges)
        entropy_loss = summed(on_grid(-now.entropy(with_gradient=args.ent_coef != 0)))
        kl_div = self.alg.kl_div
        kl = now.kl(kl_div.of_loss) if kl_div.placement == "loss" else None
        return _Terms(
            now=now,
            policy_loss=summed(losses),
            entropy_loss=entropy_loss,
            kl_loss=None if kl is None else summed(on_grid(kl)),
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
