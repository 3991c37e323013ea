"""Policy, critic and reference at the tokens of a minibatch, as losses need them.

Losses are made of the tensors [M] given here; no algorithm reads logits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from grue.policies.distribution import TokenDistribution
from grue.policies.fused_head import FusedDistributions, Slopes
from grue.policies.vocabulary_blocks import Head
from grue.rl.kl import KL_ESTIMATORS, beyond_rounding, kl_full
from grue.rollouts.minibatch import Minibatch


class TokenEvaluation(ABC):
    """Policy, critic and reference at the M trained tokens of a minibatch."""

    batch: Minibatch
    log_probs: Tensor
    """[M] log-probabilities of the tokens, within the mask if there is one."""
    values: Tensor
    """[M] values of the critic; zeros without one."""

    def __init__(self, batch: Minibatch, log_probs: Tensor, values: Tensor | None) -> None:
        self.batch = batch
        self.log_probs = log_probs
        self.values = torch.zeros_like(log_probs) if values is None else values

    @abstractmethod
    def entropy(self, *, with_gradient: bool = True) -> Tensor:
        """Return [M] the entropy over the vocabulary, in nats.

        Without a gradient it takes less memory.
        """

    @abstractmethod
    def kl_full(self) -> Tensor:
        """Return [M] KL(policy || reference) over the vocabulary, without the policy's mask."""

    @abstractmethod
    def squared_gradients(self, *losses: Tensor) -> Tensor:
        """Return [n] the squared norms of the gradients of n losses [] in the logits."""

    @abstractmethod
    def _log_probs_without_mask(self) -> Tensor:
        """Return [M] log-probabilities of the tokens by the policy without its mask."""

    def kl(self, estimator: str) -> Tensor:
        """Return [M] KL(policy || reference) by ``estimator``, of the policy without its mask.

        At tokens that do not tell the two apart by more than rounding it is 0, without a gradient.
        Adam would make one of rounding into a step as long as any.

        Args:
            estimator: ``full``, or a name in `KL_ESTIMATORS`.
        """
        both = self._log_probs_without_mask(), self.batch.ref_log_probs
        kl = self.kl_full() if estimator == "full" else KL_ESTIMATORS[estimator](*both)
        return beyond_rounding(kl, *both)


class LogitsEvaluation(TokenEvaluation):
    """Evaluation from the logits of the whole vocabulary."""

    def __init__(
        self,
        batch: Minibatch,
        policy: TokenDistribution,
        values: Tensor | None = None,
        reference: Callable[[], Tensor] | None = None,
    ) -> None:
        """Set the policy's distributions [M, V], and how to get the reference's logits [M, V]."""
        super().__init__(batch, policy.log_prob(batch.tokens), values)
        self._policy = policy
        self._reference = reference

    def entropy(self, *, with_gradient: bool = True) -> Tensor:
        """Return [M] entropies, from the logits."""
        with torch.set_grad_enabled(with_gradient and torch.is_grad_enabled()):
            return self._policy.entropy()

    def kl_full(self) -> Tensor:
        """Return [M] the exact KL, from the logits of both."""
        assert self._reference is not None, "it was given"
        return kl_full(self._policy.logits, self._reference())

    def kl_from(self, other: LogitsEvaluation) -> Tensor:
        """Return [M] KL(policy || other policy) over the vocabulary at the same tokens."""
        return kl_full(self._policy.logits, other._policy.logits)

    def squared_gradients(self, *losses: Tensor) -> Tensor:
        """Return [n] the squared norms, by a backward pass to the logits for each loss."""
        gradients = (
            torch.autograd.grad(loss, self._policy.logits, retain_graph=True)[0] for loss in losses
        )
        return torch.stack([gradient.square().sum() for gradient in gradients])

    def _log_probs_without_mask(self) -> Tensor:
        """Return [M] log-probabilities of the tokens by the policy without its mask."""
        if self._policy.allowed is None:
            return self.log_probs
        return TokenDistribution(self._policy.logits).log_prob(self.batch.tokens)


class FusedEvaluation(TokenEvaluation):
    """Evaluation from hidden states, without logits of the whole vocabulary."""

    def __init__(
        self, batch: Minibatch, policy: Head, values: Tensor, reference: Head | None
    ) -> None:
        """Set the states [M, H] of policy and reference, which a KL over the vocabulary needs."""
        self._policy = FusedDistributions(
            policy, batch.tokens, allowed=batch.vocab_mask_bits, reference=reference
        )
        super().__init__(batch, self._policy.statistics.log_probs, values)

    def entropy(self, *, with_gradient: bool = True) -> Tensor:
        """Return [M] entropies, found with the log-probabilities."""
        found = self._policy.statistics.entropy
        return found if with_gradient else found.detach()

    def kl_full(self) -> Tensor:
        """Return [M] the exact KL, found with the log-probabilities."""
        kl = self._policy.statistics.kl
        assert kl is not None, "there is a reference"
        return kl

    def squared_gradients(self, *losses: Tensor) -> Tensor:
        """Return [n] the squared norms, from the slopes of the losses in the statistics."""
        statistics = self._policy.statistics
        names = [name for name, of in statistics._asdict().items() if of is not None]
        sources = [getattr(statistics, name) for name in names]
        norms = []
        for loss in losses:
            slopes = torch.autograd.grad(loss, sources, retain_graph=True, allow_unused=True)
            known = dict(zip(names, slopes, strict=True))
            norms.append(self._policy.squared_gradient_norm(Slopes(**known)))
        return torch.stack(norms)

    def _log_probs_without_mask(self) -> Tensor:
        """Return [M] log-probabilities, as constants if there is a mask: then no loss has them."""
        if self.batch.vocab_mask_bits is None:
            return self.log_probs
        return self._policy.unmasked_log_probs
