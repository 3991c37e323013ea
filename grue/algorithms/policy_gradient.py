"""Base of algorithms with a policy gradient: the terms of their losses."""

from __future__ import annotations

import torch
from torch import Tensor

from common import distributed
from grue.algorithms.algorithm import Algorithm, ArgsT
from grue.policies.distribution import TokenDistribution
from grue.rl.kl import kl_full
from grue.rl.losses import policy_gradient_loss
from grue.rollouts.batch import Unit
from grue.rollouts.minibatch import Minibatch


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

    def evaluate(self, batch: Minibatch) -> tuple[TokenDistribution, Tensor, Tensor]:
        """Return [M] distributions, log-probabilities and values of the trained tokens."""
        evaluation = self.actor_critic.evaluate(batch.sequences)
        logits = batch.counted(evaluation.logits)
        policy = self.actor_critic.distribution(logits, batch.vocab_mask_bits)
        return policy, policy.log_prob(batch.tokens), batch.counted(evaluation.values)

    def entropy_loss(
        self,
        policy: TokenDistribution,
        log_probs: Tensor,
        *,
        weight: float = 1.0,
        estimated: bool = False,
    ) -> Tensor:
        """Return [] the negated mean entropy, exact or estimated from the sampled tokens.

        If its ``weight`` in the loss is 0, the exact one has no gradient, which saves memory.
        """
        if estimated:
            return log_probs.mean()
        with torch.set_grad_enabled(weight != 0):
            return -policy.entropy().mean()

    def kl_loss(
        self, batch: Minibatch, logits: Tensor, coefficient: float, scale: Tensor | float = 1.0
    ) -> Tensor:
        """Return [] the mean penalty for the distance from the reference, if it is a loss.

        Otherwise zero.
        """
        return self.kl_terms(batch, logits, coefficient, scale)[0]

    def kl_terms(
        self, batch: Minibatch, logits: Tensor, coefficient: float, scale: Tensor | float = 1.0
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return `kl_loss`, and record the mean KL per token, in nats, before its weight.

        ``scale`` is the divisor of advantages. A loss that replaces a part of advantages is divided
        by it too. An independent penalty is not, because it would outweigh everything where rewards
        do not deviate. Nothing is recorded if the KL is no loss.
        """
        in_advantages = self.alg.rollout_spec.pg_kl_in_advantages
        if self.alg.kl_div.placement != "loss" and in_advantages:
            return logits.new_zeros(()), {}
        ref_logits = batch.counted(self.actor_critic.reference_logits(batch.sequences))
        kl = kl_full(logits, ref_logits).mean()
        weighted = coefficient * kl if in_advantages else coefficient / scale * kl
        return weighted, {"kl_loss": kl}

    def regularizer_gradient_share(
        self, batch: Minibatch, logits: Tensor, log_probs: Tensor, penalties: Tensor
    ) -> Tensor:
        """Return [] the share of KL and entropy in an update, between 0 and 1.

        The share is ||g_p|| / (||g_t|| + ||g_p||). Here g_t is the gradient in the logits of the
        task's part of the policy gradient. The rest, g_p, is the part of KL rewards and of
        ``penalties``, the loss terms of KL and entropy. The task's part is computed without the
        critic, whose errors are no signal, so that only g_p is left on inputs whose reward does not
        deviate.
        """
        of_task = policy_gradient_loss(log_probs, batch.task_advantages)
        of_penalties = policy_gradient_loss(log_probs, batch.kl_advantages) + penalties
        return self.gradient_share(logits, batch.weight * of_task, batch.weight * of_penalties)

    def gradient_share(self, logits: Tensor, of_task: Tensor, of_penalties: Tensor) -> Tensor:
        """Return [] ||g_p|| / (||g_t|| + ||g_p||) of two losses' gradients in the logits.

        The losses are this rank's parts. The share is 0 where both gradients vanish.
        """
        parts = [
            torch.autograd.grad(loss, logits, retain_graph=True)[0].square().sum()
            for loss in (of_task, of_penalties)
        ]
        norms = distributed.all_reduce_sum(torch.stack(parts)).sqrt()
        total = norms.sum()
        return torch.where(total > 0, norms[1] / total, 0.0)
