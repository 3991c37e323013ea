"""Log-probabilities, entropies and KL from hidden states, without logits of the whole vocabulary.

The product with the output layer and the sums of the softmax are made block by block of the
vocabulary, relative to a running maximum (Milakov and Gimelshein 2018, arXiv 1805.02867), and once
more in the backward pass. No tensor of tokens times vocabulary exists, as in fused linear
cross-entropies (Wijmans et al. 2024, arXiv 2411.09009). On a CPU a block also stays in the cache.

Axis letters: M tokens, H width of the states, V vocabulary, W width of a block.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.linalg import vecdot

from common.training.shape_checks import check_shape
from grue.models.precision import exactly
from grue.models.products import product, with_rows, write_product
from grue.policies.vocabulary_blocks import Head, Inputs


class Statistics(NamedTuple):
    """Log-probabilities, entropies and KL that losses read, before M tokens."""

    log_probs: Tensor
    """[M] log-probabilities of the tokens, in nats."""
    entropy: Tensor
    """[M] entropies, in nats."""
    kl: Tensor | None
    """[M] KL(policy || reference), in nats; None without a reference."""


class Slopes(NamedTuple):
    """Derivatives [M] of a loss in each of the `Statistics`; None where it does not depend."""

    log_probs: Tensor | None
    entropy: Tensor | None = None
    kl: Tensor | None = None


class FusedDistributions:
    """Distributions of a policy before M tokens; gradients flow to its states and its layer."""

    def __init__(
        self,
        policy: Head,
        tokens: Tensor,
        *,
        allowed: Tensor | None = None,
        reference: Head | None = None,
    ) -> None:
        """Compute the statistics.

        Args:
            policy: states and output layer of the policy.
            tokens: [M] ids.
            allowed: [M, ceil(V / 8)] packed vocabulary masks of the policy; None allows all tokens.
            reference: those of the reference, as constants; None for no KL.

        Raises:
            ValueError: there is not one state per token.
        """
        check_shape("tokens", tokens, policy.states.shape[:1])
        self._inputs = Inputs.of(
            policy, tokens, allowed, reference,
            needs_gradients=any(map(_needs_gradient, policy)),
        )  # fmt: skip
        # Before logits are kept, whose blocks would break the memory that the last one has left.
        room = torch.empty_like(policy.weight) if _needs_gradient(policy.weight) else None
        self._found = _found(self._inputs)
        self.statistics = Statistics(*_Linked.apply(*policy, self._inputs, self._found, room))
        """[M] each; gradients flow."""
        self.unmasked_log_probs = self._found.unmasked_log_probs[: len(tokens), 0]
        """[M] log-probabilities of the tokens by the policy without its mask, as constants."""

    @torch.no_grad()
    def squared_gradient_norm(self, slopes: Slopes) -> Tensor:
        """Return [] the squared norm of the gradient in the logits of a loss with such slopes."""
        if slopes.entropy is None and slopes.kl is None and slopes.log_probs is not None:
            scores = self._found.squared_score[: len(slopes.log_probs), 0]
            return (slopes.log_probs.square() * scores).sum()
        parts = [part.square().sum() for _, part in _gradients(self._inputs, self._found, slopes)]
        return torch.stack(parts).sum()


def _needs_gradient(part: Tensor) -> bool:
    return torch.is_grad_enabled() and part.requires_grad


class _Normalizer:
    """Largest logit so far, and the sum of e^(logit - maximum)."""

    def __init__(self, states: Tensor) -> None:
        """Begin without a logit, for states [M, H]."""
        self.maximum = states.new_full((len(states), 1), torch.finfo(states.dtype).min)
        """[M, 1]"""
        self.total = torch.zeros_like(self.maximum)
        """[M, 1]"""

    def shifted(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits [M, W] less the largest one so far, and [M, 1] the change of that.

        The change is that of logits that had been shifted before, so it is not positive.
        """
        maximum = torch.maximum(self.maximum, logits.amax(-1, keepdim=True))
        change = self.maximum - maximum
        self.maximum, self.total = maximum, self.total * change.exp()
        return logits - maximum, change

    def add(self, logits: Tensor) -> None:
        """Add those of logits [M, W]."""
        shifted, _ = self.shifted(logits)  # which also brings the sum to the new maximum
        self.total += shifted.exp_().sum(-1, keepdim=True)

    def log_probs(self, logits: Tensor) -> Tensor:
        """Return [M, W] the log-probabilities of logits."""
        return (logits - self.maximum).sub_(self.total.log())


def _exps(logits: Tensor, *, masked: bool) -> Tensor:
    """Return e^logits of logits up to 0.

    Those of masked tokens would be computed ten times as slowly as others, as all that float32 has
    no normal numbers for. They are set to zero.
    """
    if not masked:
        return logits.exp()
    tiny = torch.finfo(logits.dtype).tiny
    exps = logits.clamp(min=math.log(2 * tiny)).exp_()
    return torch.nn.functional.threshold(exps, 4 * tiny, 0.0, inplace=True)


@torch.no_grad()
def log_probs_of(policy: Head, tokens: Tensor) -> Tensor:
    """Return [M] log-probabilities of tokens [M], in nats, as constants.

    Only the normaliser is summed, and nothing that entropies or gradients need.

    Raises:
        ValueError: there is not one state per token.
    """
    check_shape("tokens", tokens, policy.states.shape[:1])
    inputs = Inputs.of(policy, tokens, None, None, needs_gradients=False)
    normalizer = _Normalizer(inputs.policy.states)
    own_logit = torch.zeros_like(normalizer.total)
    for block in inputs.blocks():
        own_logit = block.of_tokens(block.logits, own_logit)
        normalizer.add(block.logits)
    return normalizer.log_probs(own_logit)[: len(tokens), 0]


class _Found(NamedTuple):
    """Statistics [M, 1] with what the backward pass needs."""

    policy: _Normalizer
    reference: _Normalizer
    log_probs: Tensor
    unmasked_log_probs: Tensor
    entropy: Tensor
    kl: Tensor | None
    squared_score: Tensor
    """Squared norm of the gradient of log pi(a) in the logits, 1 - 2 p_a + sum p^2."""


@torch.no_grad()
def _found(inputs: Inputs) -> _Found:
    """Return the statistics, from one pass over the vocabulary.

    Sums are over all tokens but the drawn one, so that what is left beside a probability near 1 is
    exact.
    """
    policy, unmasked, reference = (_Normalizer(inputs.policy.states) for _ in range(3))
    own = own_logit = squares = products = of_ratios = own_ratio = torch.zeros_like(policy.total)
    for block in inputs.blocks():
        # 1. Logits z relative to the maximum, and all sums so far relative to it.
        logits, change = policy.shifted(block.logits)
        shrink = change.exp()
        own = block.of_tokens(logits, own + change)
        exps = block.without_tokens(_exps(logits, masked=block.whole is not None))
        if block.whole is not None:
            own_logit = block.of_tokens(block.whole, own_logit)
            unmasked.add(block.whole)
        # 2. The sums of e^z z and of e^2z.
        products = shrink * products + change * policy.total + vecdot(exps, logits)[:, None]
        squares = shrink.square() * squares + vecdot(exps, exps)[:, None]
        # 3. That of e^z (z - the reference's z).
        if block.ref_logits is not None:
            ref_logits, ref_change = reference.shifted(block.ref_logits)
            ratios, change = logits.sub_(ref_logits), change - ref_change
            own_ratio = block.of_tokens(ratios, own_ratio + change)
            of_ratios = shrink * of_ratios + change * policy.total + vecdot(exps, ratios)[:, None]
            reference.total += ref_logits.exp_().sum(-1, keepdim=True)
        policy.total += exps.sum(-1, keepdim=True)
    others, of_token = policy.total, own.exp()
    policy.total = total = others + of_token
    kl = None
    if inputs.reference is not None:
        kl = (of_ratios + of_token * own_ratio) / total - total.log() + reference.total.log()
        # Rounding can make that of near-equal distributions negative.
        kl = kl.clamp(min=0)
    log_probs = own - total.log()
    without_mask = log_probs
    if inputs.allowed is not None:
        without_mask = unmasked.log_probs(own_logit)
    return _Found(
        policy, reference, log_probs, without_mask,
        total.log() - (products + of_token * own) / total, kl,
        (others / total).square() + squares / total.square(),
    )  # fmt: skip


def _gradients(inputs: Inputs, found: _Found, slopes: Slopes) -> Iterator[tuple[slice, Tensor]]:
    """Yield [M, W] the gradient in each block's logits of a loss with such slopes.

    That of log pi(a) is 1_a - p, of the entropy -p (log p + entropy), and of KL(p || q) p (log p -
    log q - KL).
    """
    of_log_probs, of_entropy, of_kl = (
        None if each is None else with_rows(each[:, None], len(inputs.tokens)) for each in slopes
    )
    for block in inputs.blocks():
        log_probs = found.policy.log_probs(block.logits)
        gradient = _exps(log_probs, masked=inputs.allowed is not None)
        factor = torch.zeros_like(found.log_probs)
        if of_log_probs is not None:
            factor = -of_log_probs
        if of_entropy is not None:
            factor = factor - of_entropy * (log_probs + found.entropy)
        if block.ref_logits is not None and found.kl is not None and of_kl is not None:
            log_ratios = log_probs - found.reference.log_probs(block.ref_logits)
            factor = factor + of_kl * (log_ratios - found.kl)
        gradient *= factor
        if of_log_probs is not None:
            gradient.scatter_add_(-1, block.place, of_log_probs * block.has_token)
        yield block.where, gradient


class _Linked(torch.autograd.Function):
    """Statistics as functions of the policy's states and output layer."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        inputs: Inputs,
        found: _Found,
        room: Tensor | None,
    ) -> Any:
        """Return the statistics [M] that are found already."""
        ctx.set_materialize_grads(False)
        ctx.inputs, ctx.found, ctx.num_tokens, ctx.room = inputs, found, len(states), room
        known = found.log_probs, found.entropy, found.kl
        return tuple(None if each is None else each[: len(states), 0].clone() for each in known)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor | None) -> Any:
        """Return the gradients in the states and in the weight."""
        states, weight = ctx.inputs.policy
        by_onednn = ctx.inputs.policy.is_by_onednn
        needs_states, needs_weight, *_ = ctx.needs_input_grad
        of_states = torch.zeros_like(states) if needs_states else None
        of_weight = None
        if needs_weight:
            of_weight = torch.empty_like(weight) if ctx.room is None else ctx.room
            ctx.room = None
        for where, gradient in _gradients(ctx.inputs, ctx.found, Slopes(*slopes)):
            with exactly(states.device):
                if of_states is not None:
                    of_block = weight[where].to(states.dtype)
                    of_states += product(gradient, of_block.T, by_onednn=by_onednn)
                if of_weight is not None:
                    write_product(of_weight[where], gradient.T, states.T, by_onednn=by_onednn)
        ctx.inputs.kept.clear()  # which would otherwise live as long as the graph
        of_tokens = None if of_states is None else of_states[: ctx.num_tokens]
        return of_tokens, of_weight, None, None, None
