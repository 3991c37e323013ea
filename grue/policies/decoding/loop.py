"""Own decoding loop: K outputs per prompt, the prompt read once, a cache from then on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from common.machine.devices import sent
from common.training.attention_masks import masks_without_waits
from grue.policies.decoding.logits_processors import Shaped, Shaping
from grue.policies.decoding.sampling import Filters, draw, remaining
from grue.policies.decoding.steps import Ids, Prompts, Rows, rows_left, steps_of
from grue.policies.mask_ops import packed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from grue.policies.vocabulary_mask import Mask

_TOKENS_BETWEEN_LOOKS = 16
"""After as many the host asks the device which outputs have ended, and waits for the answer. Until
then those that have draw on, in vain. On a CPU asking is free: there it is each token."""


@dataclass(frozen=True)
class Lengths:
    """When an output may end, and when it must."""

    fewest: int
    """Tokens before end-of-sequence may come."""
    most: int
    """Tokens after which an output ends without it."""


@dataclass(frozen=True)
class Samples:
    """K outputs for each of B prompts."""

    outputs: list[list[list[int]]]
    """By prompt, by sample, the ids up to and with end-of-sequence."""
    allowed: Tensor | None
    """[B * K, T, ceil(V / 8)] the tokens that could come at each step, packed; None without a
    mask."""


def pad(sequences: Sequence[Sequence[int]], *, fill: int, left: bool, device: Any) -> Prompts:
    """Sequences of ids, filled up to the longest of them."""
    width = max(map(len, sequences))
    both = torch.zeros(2, len(sequences), width, dtype=torch.long)
    ids, mask = both
    ids.fill_(fill)
    for row, sequence in enumerate(sequences):
        place = slice(width - len(sequence), None) if left else slice(len(sequence))
        ids[row, place] = torch.tensor(sequence, dtype=torch.long)
        mask[row, place] = 1
    return Prompts(*sent(both, torch.device(device)))


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
    """K outputs for each prompt, without end-of-sequence tokens' successors.

    Args:
        model: causal or encoder-decoder.
        prompts: B of them.
        uniforms: [B, K, T] in [0, 1), one per token; T is at least ``lengths.most``.
        lengths: least and greatest length of an output.
        filters: how tokens are drawn; None takes the most probable one.
        ids: special tokens.
        mask: which tokens may come; None for all.
        shaping: what else is done to logits; None for nothing.
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
    """Samples that were drawn in parts, prompt by prompt, as K of each prompt."""
    outputs = [output for part in parts for samples in part.outputs for output in samples]
    by_prompt = [outputs[i : i + num_samples] for i in range(0, len(outputs), num_samples)]
    records = [part.allowed for part in parts if part.allowed is not None]
    return Samples(by_prompt, torch.cat(records) if records else None)


def _forget_after(end: int, tokens: Tensor, record: Tensor | None) -> None:
    """Clears what was drawn after an output's end and before the next look, in place."""
    ends = (tokens == end).long()
    tokens.masked_fill_(ends.cumsum(-1) > ends, -1)
    if record is not None:
        record.masked_fill_((tokens < 0)[..., None], 0)


def _empty_record(tokens: Tensor, logits: Tensor) -> Tensor:
    """[N, T, ceil(V / 8)] zeros, for tokens [N, T] and logits [N, V]."""
    width = packed(logits[:1] > 0).shape[-1]
    return torch.zeros(*tokens.shape, width, dtype=torch.uint8, device=tokens.device)
