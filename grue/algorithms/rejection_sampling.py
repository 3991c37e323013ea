"""Rejection sampling: supervised finetuning on chosen outputs of one's own (RAFT)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from grue.algorithms.args import RejectionSamplingArgs
from grue.algorithms.policy_gradient import NUM_STEPS, Losses, PolicyGradient
from grue.algorithms.running_means import RunningMeans
from grue.algorithms.token_evaluation import TokenEvaluation
from grue.rl.selection import at_least, best_of_group
from grue.rl.token_positions import places
from grue.rollouts.batch import Rollout


class RejectionSampling(PolicyGradient[RejectionSamplingArgs]):
    """Maximum likelihood of the best or the right outputs of each rollout."""

    Args = RejectionSamplingArgs

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Make the optimizer steps of a rollout; return metrics."""
        chosen = places(self._is_chosen(rollout))
        means, num_steps = RunningMeans(), 0
        for rows in self._rows_of_steps(chosen, generator):
            self._step(rollout, rows, means)
            num_steps += 1
        counts = {"rejection_sampling/chosen": len(chosen) / len(rollout),
                  NUM_STEPS: float(num_steps)}  # fmt: skip
        return counts | means.compute()

    def _is_chosen(self, rollout: Rollout) -> Tensor:
        """Return [N] bool on the CPU, true at the outputs that are learned."""
        args = self.args
        of_right = args.select == "right"
        rewards = (rollout.task_rewards if of_right else rollout.rewards).sum(1)
        groups = rewards.view(-1, args.num_samples_per_input)
        chosen = at_least(groups, args.reward_threshold) if of_right else best_of_group(groups)
        return chosen.flatten().cpu()

    def _rows_of_steps(self, chosen: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield [n] the outputs of each optimizer step, of all chosen ones."""
        for _ in range(self.args.n_epochs):
            order = torch.randperm(len(chosen), generator=generator)
            for part in chosen[order].tensor_split(self.args.num_minibatches):
                if len(part):
                    yield part

    def _step(self, rollout: Rollout, rows: Tensor, means: RunningMeans) -> None:
        """Make one optimizer step on some outputs: the mean over all of their tokens."""
        means.merge(self.accumulate(rollout.minibatch(rows), self._losses))
        norm = self.step(self.args.max_grad_norm)
        means.add(**{"rejection_sampling/grad_norm": norm})

    def _losses(self, now: TokenEvaluation) -> Losses:
        """Return the mean over tokens of their negative log-probability."""
        loss, entropy_loss = -now.log_probs.mean(), self.entropy_loss(now, weight=0.0)
        own = {"loss": loss, "entropy_loss": entropy_loss}
        measured = {f"rejection_sampling/{name}": each for name, each in own.items()}
        return Losses(policy=loss, measured=measured | self.kl_estimates(now))
