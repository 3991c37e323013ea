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
from grue.policies.mask_ops import packed
from grue.policies.padding import Prompts

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from grue.policies.vocabulary_mask import Mask

_TOKENS_BETWEEN_LOOKS = 16
"""Tokens between checks of which outputs have ended. Each check makes the host wait for the device;
ended outputs are decoded in vain until then. On a CPU the check is free and made at each token."""


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
    """
    models = [model] if mask is None or mask.model is None else [model, mask.model]
    steps = [steps_of(each, prompts, ids) for each in models]
    num_prompts, num_samples, _ = uniforms.shape
    scores = [each.first().repeat_interleave(num_samples, 0) for each in steps]
    for each in steps:
        each.repeat(num_samples)
    device = scores[0].device
    uniforms = sent(uniforms.flatten(0, 1), device)
    tokens = torch.full((len(uniforms), lengths.most), -1, dtype=torch.long, device=device)
    rows = Rows.all(num_prompts, num_samples, device)
    goes_on = torch.ones(len(uniforms), dtype=torch.bool, device=device)
    looks_after = _tokens_between_looks(device)
    record = None if mask is None else _empty_record(tokens, scores[0])
    shaped = None if shaping is None else Shaped(shaping, prompts, ids, num_samples)

    for step in range(lengths.most):
        # 1. The next token of each output that goes on.
        if ids.end is not None and step < lengths.fewest:
            for logits in scores:
                logits[:, ids.end] = -torch.inf
        logits = scores[0]
        if shaped is not None:
            logits = shaped(logits, rows, tokens[:, :step])
        if mask is not None and record is not None:
            allowed = mask.allowed(scores[-1]) & (logits > -torch.inf)
            logits = logits.masked_fill(~allowed, -torch.inf)
            if filters is not None and filters.restrict:
                allowed = remaining(logits, filters)
            record[rows.outputs, step] = packed(allowed)
        if filters is None:
            token = logits.argmax(-1)
        else:
            token = draw(logits, uniforms[rows.outputs, step], filters)
        tokens[rows.outputs, step] = token
        if step + 1 == lengths.most:
            break
        # 2. Now and then, which of them have ended.
        if ids.end is not None and (step + 1) % looks_after == 0:
            latest = tokens[rows.outputs, step + 1 - looks_after : step + 1]
            goes_on[rows.outputs] = (latest != ids.end).all(-1)
            left = rows_left(goes_on.view(num_prompts, num_samples), rows)
            if not len(left.outputs):
                break
            if left is not rows:
                token = tokens[left.outputs, step]
                for each in steps:
                    each.keep(left)
                rows = left
        # 3. What the models say after it.
        scores = [each.next(token) for each in steps]

    if ids.end is not None:
        _forget_after(ids.end, tokens, record)
    outputs = [[token for token in row if token >= 0] for row in tokens.tolist()]
    by_prompt = [outputs[i * num_samples : (i + 1) * num_samples] for i in range(num_prompts)]
    return Samples(by_prompt, record)


def _tokens_between_looks(device: torch.device) -> int:
    return 1 if device.type == "cpu" else _TOKENS_BETWEEN_LOOKS


def joined(parts: Sequence[Samples], num_samples: int) -> Samples:
    """Return samples that were drawn in parts as K of each prompt, prompt by prompt."""
    outputs = [output for part in parts for samples in part.outputs for output in samples]
    by_prompt = [outputs[i : i + num_samples] for i in range(0, len(outputs), num_samples)]
    records = [part.allowed for part in parts if part.allowed is not None]
    return Samples(by_prompt, torch.cat(records) if records else None)


def _forget_after(end: int, tokens: Tensor, record: Tensor | None) -> None:
    """Clear, in place, the tokens drawn between an output's end and the next check."""
    ends = (tokens == end).long()
    tokens.masked_fill_(ends.cumsum(-1) > ends, -1)
    if record is not None:
        record.masked_fill_((tokens < 0)[..., None], 0)


def _empty_record(tokens: Tensor, logits: Tensor) -> Tensor:
    """Return [N, T, ceil(V / 8)] zeros, for tokens [N, T] and logits [N, V]."""
    width = packed(logits[:1] > 0).shape[-1]
    return torch.zeros(*tokens.shape, width, dtype=torch.uint8, device=tokens.device)
