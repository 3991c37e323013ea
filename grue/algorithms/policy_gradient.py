"""Base of algorithms with a policy gradient: the terms of their losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from common import distributed
from grue.algorithms.algorithm import Algorithm, ArgsT
from grue.algorithms.running_means import RunningMeans
from grue.algorithms.token_evaluation import FusedEvaluation, LogitsEvaluation, TokenEvaluation
from grue.rl.losses import policy_gradient_loss
from grue.rollouts.batch import Unit
from grue.rollouts.minibatch import Minibatch

SHARE = "update_share/kl_and_entropy"
"""Name of the regulariser's share of an update."""
NUM_STEPS = "update/num_steps"
"""Name of the number of optimizer steps of an update, where some or all may be left out."""


@dataclass(frozen=True)
class Losses:
    """Terms of the loss of a minibatch's part, all [] means over its tokens."""

    policy: Tensor
    regularizer: Tensor | float = 0.0
    """Entropy and KL losses with their coefficients."""
    critic: Tensor | float = 0.0
    """The critic's loss with its coefficient."""
    measured: dict[str, Tensor] = field(default_factory=dict)
    """Means over tokens, by metric name."""
    largest: dict[str, Tensor] = field(default_factory=dict)
    """Largest values of tokens, by metric name."""


class PolicyGradient(Algorithm[ArgsT]):
    """Algorithm whose loss is a policy loss with entropy and KL terms."""

    supports_data_parallel = True

    @property
    def unit(self) -> Unit:
        """Unit of minibatches."""
        by_tokens = self.alg.reproduces_rl4lms("minibatches_of_tokens")
        return "tokens" if by_tokens else "outputs"

    @classmethod
    def outputs_in_pass(cls, width: int) -> int | None:
        """Return the number of outputs of ``width`` tokens in a pass.

        None for those of a minibatch.
        """
        return None

    def accumulate(
        self,
        batch: Minibatch,
        losses_of: Callable[[TokenEvaluation], Losses],
        *,
        weight: float = 1.0,
        with_share: bool = False,
    ) -> RunningMeans:
        """Add a minibatch's gradients to those of its step; return what was measured.

        Each rank computes its share of one part after the other, of at most ``micro_batch_size``
        outputs. Parts weigh by their tokens, so that sums over them are means over the minibatch.

        Args:
            batch: the minibatch of all ranks.
            losses_of: gives the losses of a part.
            weight: weight of the minibatch in the step.
            with_share: if true, the regulariser's share is measured, see
                `regularizer_gradient_share`; here the surrogate must be the plain policy gradient.
        """
        means, squares = RunningMeans(), torch.zeros(2, device=batch.tokens.device)
        for part in batch.parts(self.alg.rollout_spec.micro_batch_size):
            # 1. What policy, critic and reference say now, and the losses.
            now = self.evaluate(part)
            found = losses_of(now)
            if with_share:
                squares = squares + self._squared_gradients(now, found.regularizer)
            means.add(weight * part.weight, **found.measured)
            means.add_largest(**found.largest)
            # 2. The gradients.
            loss = found.policy + found.regularizer + found.critic
            self.backward(weight * part.weight * loss)
            del now, found, loss  # what they hold of the vocabulary, before there is more of it
        if with_share:
            means.add(**{SHARE: share_of_second(squares)})
        return means

    def evaluate(self, batch: Minibatch) -> TokenEvaluation:
        """Return what policy, critic and reference say of the minibatch's trained tokens."""
        if self.is_fused:
            head, values = self.actor_critic.evaluate_head(batch.sequences)
            reference = None
            if self.kl_of_loss == "full":
                reference = self.actor_critic.reference_head(batch.sequences).at(batch.counted)
            return FusedEvaluation(batch, head.at(batch.counted), batch.counted(values), reference)
        found = self.actor_critic.evaluate(batch.sequences)
        logits = batch.counted(found.logits)
        policy = self.actor_critic.distribution(logits, batch.vocab_mask_bits)
        return LogitsEvaluation(
            batch, policy, batch.counted(found.values), self.reference_of(batch)
        )

    @property
    def is_fused(self) -> bool:
        """True if losses are computed without logits of the whole vocabulary.

        A loss of the KL is that of the policy without its mask, which is not fused with one.
        """
        if self.actor_critic.head is None:
            return False
        mask = self.policy.mask
        return mask is None or (mask.normalized and self.kl_of_loss is None)

    @property
    def kl_of_loss(self) -> str | None:
        """Estimator of the KL in the loss; None where the reward has it."""
        if not self.alg.rollout_spec.pg_kl_in_advantages:
            return "full"
        kl_div = self.alg.kl_div
        return kl_div.of_loss if kl_div.placement == "loss" else None

    def reference_of(self, batch: Minibatch) -> Callable[[], Tensor]:
        """Return a function that gives the reference's logits [M, V] at the trained tokens."""
        return lambda: batch.counted(self.actor_critic.reference_logits(batch.sequences))

    def entropy_loss(
        self, now: TokenEvaluation, *, weight: float = 1.0, estimated: bool = False
    ) -> Tensor:
        """Return [] the negated mean entropy, exact or estimated from the sampled tokens.

        If its ``weight`` in the loss is 0, the exact one has no gradient, which saves memory.
        """
        if estimated:
            return now.log_probs.mean()
        return -now.entropy(with_gradient=weight != 0).mean()

    def kl_loss(
        self, now: TokenEvaluation, coefficient: float, scale: Tensor | float = 1.0
    ) -> Tensor:
        """Return [] the mean penalty for the distance from the reference, if it is a loss.

        Otherwise zero.
        """
        return self.kl_terms(now, coefficient, scale)[0]

    def kl_terms(
        self, now: TokenEvaluation, coefficient: float, scale: Tensor | float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return `kl_loss`, and the mean KL per token in nats, without its weight, to be logged.

        ``scale`` is the divisor of advantages. A loss that replaces a part of advantages is divided
        by it too. An independent penalty is not, because it would outweigh everything where rewards
        do not deviate. There is nothing to log if the KL is no loss.
        """
        if self.kl_of_loss is None:
            return now.log_probs.new_zeros(()), {}
        kl = now.kl(self.kl_of_loss).mean()
        is_independent = self.alg.rollout_spec.pg_kl_in_advantages
        return coefficient / (1.0 if is_independent else scale) * kl, {"kl_loss": kl}

    def regularizer_gradient_share(self, now: TokenEvaluation, penalties: Tensor) -> Tensor:
        """Return [] the share of KL and entropy in an update, between 0 and 1.

        The share is ||g_p|| / (||g_t|| + ||g_p||). Here g_t is the gradient in the logits of the
        task's part of the policy gradient. The rest, g_p, is the part of KL rewards and of
        ``penalties``, the loss terms of KL and entropy. The task's part is computed without the
        critic, whose errors are no signal, so that only g_p is left on inputs whose reward does not
        deviate.
        """
        return share_of_second(self._squared_gradients(now, penalties))

    @torch.no_grad()
    def kl_estimates(self, now: TokenEvaluation) -> dict[str, Tensor]:
        """Return estimates of the mean KL(policy || reference) per token, by metric name."""
        return {f"kl/{name}": now.kl(name).mean() for name in ("k1", "k3")}

    def _squared_gradients(self, now: TokenEvaluation, penalties: Tensor | float) -> Tensor:
        """Return [2] squared norms of the gradients of the task's and the other parts."""
        batch = now.batch
        of_task = policy_gradient_loss(now.log_probs, batch.task_advantages)
        of_penalties = policy_gradient_loss(now.log_probs, batch.kl_advantages) + penalties
        return now.squared_gradients(batch.weight * of_task, batch.weight * of_penalties)


def share_of_second(squares: Tensor) -> Tensor:
    """Return [] the second of two norms as a share of both, from all ranks' parts [2] of squares.

    The share is 0 where both vanish.
    """
    norms = distributed.all_reduce_sum(squares).sqrt()
    total = norms.sum()
    return torch.where(total > 0, norms[1] / total, 0.0)
