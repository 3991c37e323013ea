"""Log-probabilities, KL and values of each token of a rollout, by policy, reference and critic."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from common import distributed
from common.machine.devices import sent
from grue.policies.actor_critic import ActorCritic
from grue.policies.distribution import TokenDistribution
from grue.policies.fused_head import FusedDistributions, log_probs_of
from grue.policies.padding import widened
from grue.policies.policy import by_length
from grue.policies.sequences import Sequences
from grue.rl.kl import KL_ESTIMATORS, beyond_rounding, kl_full
from grue.rl.token_positions import chosen, first_tokens, put_back
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.settings import RolloutSettings


class TokenValues(NamedTuple):
    """Values [N, T] of the outputs' tokens."""

    log_probs: Tensor
    ref_log_probs: Tensor
    kl: Tensor
    pg_kl: Tensor
    """KL that the advantages contain."""
    values: Tensor


@torch.no_grad()
def token_values(
    actor_critic: ActorCritic,
    found: PendingRollout,
    sequences: Sequences,
    bits: Tensor | None,
    settings: RolloutSettings,
) -> TokenValues:
    """Return log-probabilities, KL and values of each token, by policy, reference and critic.

    Outputs of similar lengths have a pass together, so that little is padding. A part has as many
    tokens as two of the update's minibatches, because without gradients it takes no more memory
    than one minibatch with them.

    Args:
        actor_critic: policy, reference and critic.
        found: N outputs, which may have the policy's log-probabilities already.
        sequences: the same as tensors.
        bits: [N, T, ceil(V / 8)] packed vocabulary masks; None without a mask.
        settings: sizes of passes, and whether KL is exact.
    """
    own, width = distributed.shard_slice(len(found.outputs)), sequences.outputs.ids.shape[1]
    known = None if settings.kl_estimator == "full" else found.joined_log_probs(width)
    lengths = [len(prompt) + len(output) for prompt, output in
               zip(found.prompts[own], found.outputs[own], strict=True)]  # fmt: skip
    size = max(1, 2 * settings.minibatch_tokens // width)
    order: list[int] = []
    parts: list[Tensor] = []
    for batch in by_length(lengths, size):
        rows = [own.start + place for place in batch]
        of_outputs = torch.tensor([len(found.outputs[row]) for row in rows])
        longest = max(len(found.prompts[row]) for row in rows), int(of_outputs.max())
        index = sent(torch.tensor(rows), sequences.outputs.ids.device)
        part = _Part(
            sequences.narrowed(*longest).rows(index),
            first_tokens(of_outputs, longest[1]),
            None if bits is None else bits[index, : longest[1]],
            None if known is None else known[index, : longest[1]],
        )
        of_part = _values_of(actor_critic, part, settings)
        parts.append(torch.stack([widened(each, width) for each in of_part], -1))
        order += batch
    mine = [torch.cat(parts)[sent(torch.tensor(order).argsort(), parts[0].device)]] if parts else []
    of_all = distributed.all_gather_tensors(mine, actor_critic.policy.device)
    return TokenValues(*torch.cat(of_all).unbind(-1))


class _Part(NamedTuple):
    """Some outputs, which have a pass together."""

    sequences: Sequences
    mask: Tensor
    """[n, T] CPU mask of the outputs' tokens, the M of which are looked at."""
    bits: Tensor | None
    known: Tensor | None
    """[n, T, 2] log-probabilities, within the mask and without it; None to compute them."""

    def at_tokens(self, values: Tensor) -> Tensor:
        """Return [M, ...] the values [n, T, ...] of the outputs' tokens."""
        return chosen(values, self.mask)


def _values_of(actor_critic: ActorCritic, part: _Part, settings: RolloutSettings) -> TokenValues:
    """Return the values [n, T] of some outputs; zero at padding.

    The KL is that of the policy without a mask, as published, because a mask does not bring the
    policy nearer to the reference. It is 0 at tokens that do not tell the two apart by
    more than rounding, which must not be standardized into advantages.
    """
    vocab_mask = actor_critic.policy.mask
    is_fused = actor_critic.head is not None and (
        part.bits is None or (vocab_mask is not None and vocab_mask.normalized)
    )
    evaluate = _from_states if is_fused else _from_logits
    log_probs, unmasked, ref_log_probs, kl, values = evaluate(actor_critic, part, settings)
    estimator = "k1" if settings.kl_estimator == "full" else settings.kl_estimator
    both = unmasked, ref_log_probs
    sampled = beyond_rounding(KL_ESTIMATORS[estimator](*both), *both)
    kl = sampled if kl is None else beyond_rounding(kl, *both)
    # An exact KL is the same for every sampled token, so that in the token's own advantage it would
    # be a baseline without effect: there it is the sampled token's, unless a loss replaces it.
    # Advantages of whole outputs sum up the KL of all tokens, each the same one.
    pg_kl = sampled if settings.exact_kl_pushes_own_token else kl
    if not settings.pg_kl_in_advantages:
        pg_kl = torch.zeros_like(sampled)
    of_tokens = log_probs, ref_log_probs, kl, pg_kl
    log_probs, ref_log_probs, kl, pg_kl = (put_back(each, part.mask) for each in of_tokens)
    is_padding = ~part.sequences.outputs.mask.bool()
    values = values.masked_fill(is_padding, 0.0)
    return TokenValues(log_probs, ref_log_probs, kl, pg_kl, values)


_Evaluated = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor]
"""[M] log-probabilities within the mask, without it, and by the reference; the exact KL if it is
asked for; and values [n, T]."""


def _from_states(actor_critic: ActorCritic, part: _Part, settings: RolloutSettings) -> _Evaluated:
    """Evaluate without logits of the whole vocabulary."""
    tokens = part.at_tokens(part.sequences.outputs.ids)
    reference = actor_critic.reference_head(part.sequences).at(part.at_tokens)
    ref_log_probs = log_probs_of(reference, tokens)
    if part.known is not None:
        within, without = part.at_tokens(part.known).unbind(-1)
        return within, without, ref_log_probs, None, actor_critic.values(part.sequences)
    head, values = actor_critic.evaluate_head(part.sequences)
    policy = head.at(part.at_tokens)
    kl = None
    if part.bits is None:
        within = without = log_probs_of(policy, tokens)
    else:
        found = FusedDistributions(policy, tokens, allowed=part.at_tokens(part.bits))
        within, without = found.statistics.log_probs, found.unmasked_log_probs
    if settings.kl_estimator == "full":  # of the policy without its mask
        kl = FusedDistributions(policy, tokens, reference=reference).statistics.kl
    return within, without, ref_log_probs, kl, values


def _from_logits(actor_critic: ActorCritic, part: _Part, settings: RolloutSettings) -> _Evaluated:
    """Evaluate by logits, which not every model makes of states by a product alone."""
    tokens = part.at_tokens(part.sequences.outputs.ids)
    ref_logits = part.at_tokens(actor_critic.reference_logits(part.sequences))
    ref_log_probs = TokenDistribution(ref_logits).log_prob(tokens)
    if part.known is not None:
        within, without = part.at_tokens(part.known).unbind(-1)
        return within, without, ref_log_probs, None, actor_critic.values(part.sequences)
    evaluation = actor_critic.evaluate(part.sequences)
    logits = part.at_tokens(evaluation.logits)
    within = without = TokenDistribution(logits).log_prob(tokens)
    if part.bits is not None:
        within = actor_critic.distribution(logits, part.at_tokens(part.bits)).log_prob(tokens)
    kl = kl_full(logits, ref_logits) if settings.kl_estimator == "full" else None
    return within, without, ref_log_probs, kl, evaluation.values
