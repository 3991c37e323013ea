"""Policy, critic and reference at the tokens of a minibatch, as losses need them.

Losses are made of the tensors [M] given here; no algorithm reads logits.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from grue.policies.distribution import TokenDistribution
from grue.rl.kl import KL_ESTIMATORS, kl_full
from grue.rollouts.minibatch import Minibatch


class TokenEvaluation:
    """Policy, critic and reference at the M trained tokens of a minibatch."""

    def __init__(
        self,
        batch: Minibatch,
        policy: TokenDistribution,
        values: Tensor | None = None,
        reference: Callable[[], Tensor] | None = None,
    ) -> None:
        """Set the policy's distributions [M, V], and how to get the reference's logits [M, V]."""
        self.batch = batch
        self._policy = policy
        self._reference = reference
        self.log_probs = policy.log_prob(batch.tokens)
        """[M] log-probabilities of the tokens, within the mask if there is one."""
        self.values = torch.zeros_like(self.log_probs) if values is None else values
        """[M] values of the critic; zeros without one."""

    def entropy(self, *, with_gradient: bool = True) -> Tensor:
        """Return [M] the entropy over the vocabulary, in nats.

        Without a gradient it takes less memory.
        """
        with torch.set_grad_enabled(with_gradient and torch.is_grad_enabled()):
            return self._policy.entropy()

    def kl(self, estimator: str) -> Tensor:
        """Return [M] KL(policy || reference) by ``estimator``, of the policy without its mask.

        Args:
            estimator: ``full``, or a name in `KL_ESTIMATORS`.
        """
        if estimator == "full":
            return self.kl_full()
        return KL_ESTIMATORS[estimator](self._log_probs_without_mask(), self.batch.ref_log_probs)

    def kl_full(self) -> Tensor:
        """Return [M] KL(policy || reference) over the vocabulary, without the policy's mask."""
        assert self._reference is not None, "it was given"
        return kl_full(self._policy.logits, self._reference())

    def kl_from(self, other: TokenEvaluation) -> Tensor:
        """Return [M] KL(policy || other policy) over the vocabulary at the same tokens."""
        return kl_full(self._policy.logits, other._policy.logits)

    def squared_gradients(self, *losses: Tensor) -> Tensor:
        """Return [n] the squared norms of the gradients of n losses [] in the logits."""
        gradients = (
            torch.autograd.grad(loss, self._policy.logits, retain_graph=True)[0] for loss in losses
        )
        return torch.stack([gradient.square().sum() for gradient in gradients])

    def _log_probs_without_mask(self) -> Tensor:
        """Return [M] log-probabilities of the tokens by the policy without its mask."""
        if self._policy.mask is None:
            return self.log_probs
        return TokenDistribution(self._policy.logits).log_prob(self.batch.tokens)
