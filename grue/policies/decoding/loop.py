"""Decoding loop: K outputs per prompt; each prompt is read once and then served from a cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from common.machine.devices import sent
from common.training.attention_masks import masks_without_waits
from grue.policies.decoding.logits_processors import Shaped, Shaping
from grue.policies.decoding.sampling import Filters, draw, remaining
from grue.policies.decoding.steps import Ids, Rows, rows_left, steps_of
from grue.policies.distribution import divided
from grue.policies.mask_ops import masked, packed
from grue.policies.padding import Prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from grue.policies.vocabulary_mask import Mask

_TOKENS_BETWEEN_LOOKS = 16
"""Number of tokens between checks for outputs that have ended. Each check makes the host wait for
the device; until then, ended outputs are decoded uselessly. On a CPU the check is free and made at
each token."""


@dataclass(frozen=True)
class Lengths:
    """Smallest and largest length of an output."""

    fewest: int
    """Number of tokens before end-of-sequence may be drawn."""
    most: int
    """Number of tokens after which an output ends without it."""


@dataclass(frozen=True)
class Samples:
    """K outputs for each of B prompts."""

    outputs: list[list[list[int]]]
    """Token ids by prompt and sample, up to and including end-of-sequence."""
    allowed: Tensor | None
    """[B * K, T, ceil(V / 8)] packed vocabulary masks of each step; None without a mask."""
    log_probs: Tensor | None = None
    """[B * K, T, 2] log-probabilities of the tokens by the policy, within the vocabulary mask and
    without it, before all filters; zero after an output's end. None unless asked for."""


@torch.no_grad()
@masks_without_waits()
def sample(
    model: PreTrainedModel,
    prompts: Prompts,
    uniforms: Tensor,
    *,
    lengths: Lengths,
    filters: Filters | None,
    ids: Ids,
    mask: Mask | None = None,
    shaping: Shaping | None = None,
    temperature: float | None = None,
) -> Samples:
    """Return K outputs for each prompt, cut after end-of-sequence.

    Args:
        model: causal or encoder-decoder.
        prompts: B padded prompts.
        uniforms: [B, K, T] in [0, 1), one per token; T is at least ``lengths.most``.
        lengths: smallest and largest length of an output.
        filters: filters of sampling; None for greedy decoding.
        ids: special tokens.
        mask: vocabulary mask; None allows all tokens.
        shaping: further logits processors; None for none.
        temperature: temperature of the log-probabilities; None for none of them.
    """
    decoding = _Decoding(model, prompts, uniforms, lengths, ids, mask, shaping, temperature)
    for step in range(lengths.most):
        decoding.add_token(step, filters)
        if step + 1 == lengths.most or not decoding.drop_ended(step):
            break
        decoding.advance(step)
    return decoding.samples()


class _Decoding:
    """Outputs of a batch during decoding, with the models' logits of the next tokens."""

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Prompts,
        uniforms: Tensor,
        lengths: Lengths,
        ids: Ids,
        mask: Mask | None,
        shaping: Shaping | None,
        temperature: float | None,
    ) -> None:
        models = [model] if mask is None or mask.model is None else [model, mask.model]
        num_prompts, num_samples, _ = uniforms.shape
        self._steps = [steps_of(each, prompts, ids) for each in models]
        self._logits = [each.first().repeat_interleave(num_samples, 0) for each in self._steps]
        for each in self._steps:
            each.repeat(num_samples)
        device = self._logits[0].device
        self._num_prompts, self._num_samples = num_prompts, num_samples
        self._uniforms = sent(uniforms.flatten(0, 1), device)
        self._lengths, self._ids, self._mask = lengths, ids, mask
        self._shaped = None if shaping is None else Shaped(shaping, prompts, ids, num_samples)
        num_outputs = num_prompts * num_samples
        self._tokens = torch.full((num_outputs, lengths.most), -1, dtype=torch.long, device=device)
        self._rows = Rows.all(num_prompts, num_samples, device)
        self._goes_on = torch.ones(num_outputs, dtype=torch.bool, device=device)
        self._record = None if mask is None else _empty_record(self._tokens, self._logits[0])
        self._temperature = temperature
        self._log_probs = None
        if temperature is not None:
            self._log_probs = torch.zeros(num_outputs, lengths.most, 2, device=device)
        self._looks_after = _tokens_between_looks(device)

    def add_token(self, step: int, filters: Filters | None) -> None:
        """Add the next token of each output that has not ended."""
        outputs = self._rows.outputs
        of_policy = None
        if self._temperature is not None:  # before end-of-sequence is forbidden in place
            of_policy = divided(self._logits[0], self._temperature).log_softmax(-1)
        logits = self._allowed_logits(step, filters)
        if filters is None:
            tokens = logits.argmax(-1)
        else:
            tokens = draw(logits, self._uniforms[outputs, step], filters)
        self._tokens[outputs, step] = tokens
        if of_policy is not None:
            self._keep_log_probs(step, of_policy, tokens)

    def _keep_log_probs(self, step: int, of_policy: Tensor, tokens: Tensor) -> None:
        """Keep those of tokens [N], of log-probabilities [N, V] of the policy without its mask."""
        assert self._log_probs is not None, "there is a temperature"
        outputs = self._rows.outputs
        within = without = of_policy.gather(-1, tokens[:, None]).squeeze(-1)
        if self._mask is not None and self._record is not None:
            allowed = self._record[outputs, step]
            within = self._mask.distribution(of_policy, allowed).log_prob(tokens)
        self._log_probs[outputs, step] = torch.stack([within, without], -1)

    def _allowed_logits(self, step: int, filters: Filters | None) -> Tensor:
        """Return [N, V] logits of the next token; -inf for forbidden tokens."""
        end, logits = self._ids.end, self._logits[0]
        if end is not None and step < self._lengths.fewest:
            for each in self._logits:
                each[:, end] = -torch.inf
        if self._shaped is not None:
            logits = self._shaped(logits, self._rows, self._tokens[:, :step])
        if self._mask is not None and self._record is not None:
            allowed = packed(self._mask.allowed(self._logits[-1]) & (logits > -torch.inf))
            logits = masked(logits, allowed)
            if filters is not None and filters.restrict:
                allowed = packed(remaining(logits, filters))
            self._record[self._rows.outputs, step] = allowed
        return logits

    def drop_ended(self, step: int) -> bool:
        """Drop outputs that have ended, at intervals; return false once none is left."""
        end, since = self._ids.end, step + 1 - self._looks_after
        if end is None or (step + 1) % self._looks_after:
            return True
        latest = self._tokens[self._rows.outputs, since : step + 1]
        self._goes_on[self._rows.outputs] = (latest != end).all(-1)
        goes_on = self._goes_on.view(self._num_prompts, self._num_samples)
        left = rows_left(goes_on, self._rows)
        if left is not self._rows and len(left.outputs):
            for each in self._steps:
                each.keep(left)
        self._rows = left
        return len(left.outputs) > 0

    def advance(self, step: int) -> None:
        """Advance the models by the tokens of a step."""
        tokens = self._tokens[self._rows.outputs, step]
        self._logits = [each.next(tokens) for each in self._steps]

    def samples(self) -> Samples:
        """Return the outputs, without tokens drawn after their ends."""
        if self._ids.end is not None:
            _forget_after(self._ids.end, self._tokens, self._record, self._log_probs)
        outputs = [[token for token in row if token >= 0] for row in self._tokens.tolist()]
        return Samples(_by_prompt(outputs, self._num_samples), self._record, self._log_probs)


def _tokens_between_looks(device: torch.device) -> int:
    return 1 if device.type == "cpu" else _TOKENS_BETWEEN_LOOKS


def joined(parts: Sequence[Samples], num_samples: int) -> Samples:
    """Return samples that were drawn in parts as K of each prompt, prompt by prompt."""
    outputs = [output for part in parts for samples in part.outputs for output in samples]
    records, log_probs = ([getattr(part, name) for part in parts if getattr(part, name) is not None]
                          for name in ("allowed", "log_probs"))  # fmt: skip
    joined_parts = (torch.cat(each) if each else None for each in (records, log_probs))
    return Samples(_by_prompt(outputs, num_samples), *joined_parts)


def _by_prompt(outputs: list[list[int]], num_samples: int) -> list[list[list[int]]]:
    """Return K outputs of each prompt, from consecutive outputs."""
    return [outputs[i : i + num_samples] for i in range(0, len(outputs), num_samples)]


def _forget_after(end: int, tokens: Tensor, *known: Tensor | None) -> None:
    """Clear, in place, the tokens drawn between an output's end and the next check."""
    ends = (tokens == end).long()
    tokens.masked_fill_(ends.cumsum(-1) > ends, -1)
    for of_tokens in known:
        if of_tokens is not None:
            of_tokens.masked_fill_((tokens < 0)[..., None], 0)


def _empty_record(tokens: Tensor, logits: Tensor) -> Tensor:
    """Return [N, T, ceil(V / 8)] zeros, for tokens [N, T] and logits [N, V]."""
    width = packed(logits[:1] > 0).shape[-1]
    return torch.zeros(*tokens.shape, width, dtype=torch.uint8, device=tokens.device)
