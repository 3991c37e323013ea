"""Next-token logits of a model step by step, with a cache; ended outputs are dropped."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from grue.models.attention import shared_by_samples
from grue.models.signature import accepts
from grue.policies.padding import Prompts, positions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Ids:
    """The special tokens that decoding needs."""

    end: int | None
    """Id of end-of-sequence; None if outputs end only at their largest length."""
    start: int | None = None
    """Id of the first token of an encoder-decoder model's decoder."""


@dataclass(frozen=True)
class Rows:
    """Unfinished outputs, of K for each of B prompts."""

    outputs: Tensor
    """[N] their indices b K + k, ascending."""
    prompts: Tensor
    """[M] the indices of their prompts, ascending."""

    @classmethod
    def all(cls, num_prompts: int, num_samples: int, device: torch.device) -> Rows:
        """Return all outputs of B prompts as unfinished."""
        outputs = torch.arange(num_prompts * num_samples, device=device)
        return cls(outputs, torch.arange(num_prompts, device=device))


def rows_left(goes_on: Tensor, rows: Rows) -> Rows:
    """Return the unfinished ones of ``rows``; ``rows`` itself if none has ended.

    The host waits for the device once.

    Args:
        goes_on: [B, K] true for unfinished outputs.
        rows: the outputs that were unfinished before.
    """
    of_prompts = goes_on.any(-1)
    num_outputs, num_prompts = torch.stack([goes_on.sum(), of_prompts.sum()]).tolist()
    if num_outputs == len(rows.outputs):
        return rows
    return Rows(_true(goes_on.flatten(), num_outputs), _true(of_prompts, num_prompts))


def _true(mask: Tensor, count: int) -> Tensor:
    """Return [count] the positions where ``mask`` [N] is true, without ``nonzero``'s wait."""
    return mask.byte().argsort(descending=True, stable=True)[:count]


def steps_of(model: PreTrainedModel, prompts: Prompts, ids: Ids) -> Causal | Encoded:
    """Return the stepper of a model of either architecture."""
    if model.config.is_encoder_decoder:
        return Encoded(model, prompts, ids)
    return Causal(model, prompts)


def _cache_name(model: PreTrainedModel) -> str:
    """Names of a model's cache in the library's version, as argument and as output."""
    return "cache" if accepts(model, "cache") else "past_key_values"


class Causal:
    """Stepper of a causal model."""

    def __init__(self, model: PreTrainedModel, prompts: Prompts) -> None:
        self._model = model
        self._prompts = prompts
        self._mask = prompts.mask
        self._cache: Any = None
        self._cache_name = _cache_name(model)
        self._takes_positions = accepts(model, "position_ids")
        self._last_only = {"logits_to_keep": 1} if accepts(model, "logits_to_keep") else {}

    def first(self) -> Tensor:
        """Return [B, V] logits after the prompts."""
        return self._forward(self._prompts.ids, positions(self._mask))

    def repeat(self, times: int) -> None:
        """Repeat the cache of each prompt."""
        self._cache.batch_repeat_interleave(times)
        self._mask = self._mask.repeat_interleave(times, 0)
        self._rows = Rows.all(len(self._prompts.ids), times, self._mask.device)

    def keep(self, rows: Rows) -> None:
        """Keep some rows of the cache."""
        kept = torch.searchsorted(self._rows.outputs, rows.outputs)
        self._cache.batch_select_indices(kept)
        self._mask = self._mask[kept]
        self._rows = rows

    def next(self, token: Tensor) -> Tensor:
        """Return [N, V] logits after one more token [N]."""
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


class Encoded:
    """Stepper of an encoder-decoder model; the encoder runs once per prompt.

    If the model's attention allows it, all samples of a prompt read one cache of the encoder's
    output. That cache is as long as the prompt, and copies of it would be most of the memory.
    """

    def __init__(self, model: PreTrainedModel, prompts: Prompts, ids: Ids) -> None:
        self._model = model
        self._mask = prompts.mask
        assert ids.start is not None, "the decoder has a first token"
        self._start = ids.start
        self._cache: Any = None
        self._cache_name = _cache_name(model)
        self._places: Tensor | None = None
        encoder = model.get_encoder()
        self._encoded = encoder(input_ids=prompts.ids, attention_mask=prompts.mask)

    def first(self) -> Tensor:
        """Return [B, V] logits after the start token."""
        start = torch.full_like(self._mask[:, 0], self._start)
        return self.next(start)

    def repeat(self, times: int, *, shared: bool | None = None) -> None:
        """Repeat the cache of each prompt; ``shared`` None shares it if the model allows that."""
        self._num_samples = times
        self._rows = Rows.all(len(self._mask), times, self._mask.device)
        if shared is None:
            shared = times > 1 and shares_prompts(self._model)
        if shared:
            self._cache.self_attention_cache.batch_repeat_interleave(times)
            self._places = self._rows.outputs
        else:
            self._cache.batch_repeat_interleave(times)
            self._select(self._rows.outputs // times)

    def keep(self, rows: Rows) -> None:
        """Keep some rows of the cache."""
        kept = torch.searchsorted(self._rows.outputs, rows.outputs)
        if self._places is None:
            self._cache.batch_select_indices(kept)
            self._select(kept)
        else:
            self._cache.self_attention_cache.batch_select_indices(kept)
            if len(rows.prompts) < len(self._rows.prompts):
                kept = torch.searchsorted(self._rows.prompts, rows.prompts)
                self._cache.cross_attention_cache.batch_select_indices(kept)
                self._select(kept)
            prompt, sample = rows.outputs // self._num_samples, rows.outputs % self._num_samples
            self._places = torch.searchsorted(rows.prompts, prompt) * self._num_samples + sample
        self._rows = rows

    def next(self, token: Tensor) -> Tensor:
        """Return [N, V] logits after one more token [N]."""
        sharing: Any = contextlib.nullcontext()
        if self._places is not None:
            sharing = shared_by_samples(self._places, self._num_samples)
        with sharing:
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


_SHARING: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Cached results of `shares_prompts`."""


@torch.no_grad()
def shares_prompts(model: PreTrainedModel) -> bool:
    """Return whether an encoder-decoder model lets the samples of a prompt share its cache.

    It is tried once, on two prompts with two samples each. Models with attention of their own, or
    with self-attention and cross-attention merged, refuse the shapes.
    """
    if model not in _SHARING:
        ids = torch.zeros(2, 1, dtype=torch.long, device=model.device)
        steps = Encoded(model, Prompts(ids, torch.ones_like(ids)), Ids(end=None, start=0))
        steps.first()
        try:
            steps.repeat(2, shared=True)
            steps.next(ids.new_zeros(4))
            _SHARING[model] = True
        except torch.OutOfMemoryError:
            raise
        except (AttributeError, RuntimeError, ValueError):
            _SHARING[model] = False
    return _SHARING[model]
