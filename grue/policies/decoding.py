"""Own decoding loop: K outputs per prompt, the prompt read once, a cache from then on."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from grue.masks import packed
from grue.policies.sampling import Filters, draw, remaining

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from grue.policies.masking import Mask


@dataclass(frozen=True)
class Lengths:
    """When an output may end, and when it must."""

    fewest: int
    """Tokens before end-of-sequence may come."""
    most: int
    """Tokens after which an output ends without it."""


@dataclass(frozen=True)
class Ids:
    """The special tokens that decoding needs."""

    end: int | None
    """End-of-sequence; None where outputs end at their greatest length alone."""
    start: int | None = None
    """First token of an encoder-decoder model's decoder."""


@dataclass(frozen=True)
class Prompts:
    """B prompts as tensors."""

    ids: Tensor
    """[B, P], padded: on the left for causal models, on the right for encoders."""
    mask: Tensor
    """[B, P] 1 where there is a token."""


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
    ids = torch.full((len(sequences), width), fill, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        place = slice(width - len(sequence), None) if left else slice(len(sequence))
        ids[row, place] = torch.tensor(sequence, dtype=torch.long)
        mask[row, place] = 1
    return Prompts(ids.to(device), mask.to(device))


def positions(mask: Tensor) -> Tensor:
    """[B, P] position of each token among the tokens of its row; 0 for padding."""
    return (mask.cumsum(-1) - 1).clamp(min=0)


@torch.no_grad()
def sample(
    model: PreTrainedModel,
    prompts: Prompts,
    uniforms: Tensor,
    *,
    lengths: Lengths,
    filters: Filters | None,
    ids: Ids,
    mask: Mask | None = None,
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
    """
    models = [model] if mask is None or mask.model is None else [model, mask.model]
    steps = [_steps(each, prompts, ids) for each in models]
    num_prompts, num_samples, _ = uniforms.shape
    scores = [each.first().repeat_interleave(num_samples, 0) for each in steps]
    for each in steps:
        each.repeat(num_samples)
    device = scores[0].device
    uniforms = uniforms.flatten(0, 1).to(device)
    tokens = torch.full((len(uniforms), lengths.most), -1, dtype=torch.long, device=device)
    rows = torch.arange(len(uniforms), device=device)  # of the outputs that go on
    record = None if mask is None else _empty_record(tokens, scores[0])

    for step in range(lengths.most):
        if ids.end is not None and step < lengths.fewest:
            for logits in scores:
                logits[:, ids.end] = -torch.inf
        logits = scores[0]
        if mask is not None and record is not None:
            allowed = mask.allowed(scores[-1]) & (logits > -torch.inf)
            logits = logits.masked_fill(~allowed, -torch.inf)
            if filters is not None and filters.restrict:
                allowed = remaining(logits, filters)
            record[rows, step] = packed(allowed)
        token = (
            logits.argmax(-1) if filters is None else draw(logits, uniforms[rows, step], filters)
        )
        tokens[rows, step] = token
        goes_on = torch.ones_like(token, dtype=torch.bool) if ids.end is None else token != ids.end
        if step + 1 == lengths.most or not bool(goes_on.any()):
            break
        if not bool(goes_on.all()):
            rows, token = rows[goes_on], token[goes_on]
            for each in steps:
                each.keep(goes_on)
        scores = [each.next(token) for each in steps]

    outputs = [[token for token in row if token >= 0] for row in tokens.tolist()]
    by_prompt = [outputs[i * num_samples : (i + 1) * num_samples] for i in range(num_prompts)]
    return Samples(by_prompt, record)


def _empty_record(tokens: Tensor, logits: Tensor) -> Tensor:
    """[N, T, ceil(V / 8)] zeros, for tokens [N, T] and logits [N, V]."""
    width = packed(logits[:1] > 0).shape[-1]
    return torch.zeros(*tokens.shape, width, dtype=torch.uint8, device=tokens.device)


def _steps(model: PreTrainedModel, prompts: Prompts, ids: Ids) -> _Causal | _Encoded:
    if model.config.is_encoder_decoder:
        return _Encoded(model, prompts, ids)
    return _Causal(model, prompts)


def accepts(model: PreTrainedModel, name: str) -> bool:
    """Whether the model's forward pass takes an argument of this name."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return name in inspect.signature(inner.forward).parameters


def _cache_name(model: PreTrainedModel) -> str:
    """What the library's version calls a model's cache, as argument and as output."""
    return "cache" if accepts(model, "cache") else "past_key_values"


class _Causal:
    """A causal model's steps."""

    def __init__(self, model: PreTrainedModel, prompts: Prompts) -> None:
        self._model = model
        self._prompts = prompts
        self._mask = prompts.mask
        self._cache: Any = None
        self._cache_name = _cache_name(model)
        self._takes_positions = accepts(model, "position_ids")
        self._last_only = {"logits_to_keep": 1} if accepts(model, "logits_to_keep") else {}

    def first(self) -> Tensor:
        """[B, V] logits after the prompts."""
        return self._forward(self._prompts.ids, positions(self._mask))

    def repeat(self, times: int) -> None:
        """Goes on with each prompt as often."""
        self._cache.batch_repeat_interleave(times)
        self._mask = self._mask.repeat_interleave(times, 0)

    def keep(self, rows: Tensor) -> None:
        """Goes on with some rows alone."""
        self._cache.batch_select_indices(rows.nonzero().squeeze(-1))
        self._mask = self._mask[rows]

    def next(self, token: Tensor) -> Tensor:
        """[N, V] logits after one more token [N]."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(token), 1)], -1)
        return self._forward(token[:, None], self._mask.sum(-1, keepdim=True) - 1)

    def _forward(self, ids: Tensor, position_ids: Tensor) -> Tensor:
        found = self._model(
            input_ids=ids,
            attention_mask=self._mask,
            use_cache=True,
            **{self._cache_name: self._cache},
            **({"position_ids": position_ids} if self._takes_positions else {}),
            **self._last_only,
        )
        self._cache = getattr(found, self._cache_name)
        logits: Tensor = found.logits[:, -1]
        return logits


class _Encoded:
    """An encoder-decoder model's steps; the encoder runs once per prompt."""

    def __init__(self, model: PreTrainedModel, prompts: Prompts, ids: Ids) -> None:
        self._model = model
        self._mask = prompts.mask
        self._start = ids.start
        self._cache: Any = None
        self._cache_name = _cache_name(model)
        encoder = model.get_encoder()
        self._encoded = encoder(input_ids=prompts.ids, attention_mask=prompts.mask)

    def first(self) -> Tensor:
        """[B, V] logits after the start token."""
        start = torch.full_like(self._mask[:, 0], self._start)
        return self.next(start)

    def repeat(self, times: int) -> None:
        """Goes on with each prompt as often."""
        self._cache.batch_repeat_interleave(times)
        self._select(torch.arange(len(self._mask)).repeat_interleave(times).to(self._mask.device))

    def keep(self, rows: Tensor) -> None:
        """Goes on with some rows alone."""
        index = rows.nonzero().squeeze(-1)
        self._cache.batch_select_indices(index)
        self._select(index)

    def next(self, token: Tensor) -> Tensor:
        """[N, V] logits after one more token [N]."""
        found = self._model(
            encoder_outputs=self._encoded,
            attention_mask=self._mask,
            decoder_input_ids=token[:, None],
            use_cache=True,
            **{self._cache_name: self._cache},
        )
        self._cache = getattr(found, self._cache_name)
        logits: Tensor = found.logits[:, -1]
        return logits

    def _select(self, index: Tensor) -> None:
        self._mask = self._mask[index]
        # The cache holds what the decoder reads of it; only the number of rows is looked at.
        self._encoded.last_hidden_state = self._encoded.last_hidden_state[index]
