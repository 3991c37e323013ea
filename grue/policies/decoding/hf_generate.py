"""Generation by the library's ``generate``; no setting is inherited from a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from grue.policies.decoding.batch_size import Passes
    from grue.policies.decoding.loop import Lengths
    from grue.policies.decoding.steps import Ids
    from grue.policies.generation_config import GenerationConfig
    from grue.policies.padding import Prompts
    from grue.policies.vocabulary_mask import Mask


class Generator(Protocol):
    """The part of a `Policy` that the library's ``generate`` needs."""

    model: Any
    tokenizer: PreTrainedTokenizerBase
    ids: Ids
    mask: Mask | None
    searches: Passes
    is_encoder_decoder: bool

    def pad(self, prompts: Sequence[list[int]]) -> Prompts:
        """Return the prompts as one batch."""

    def lengths(self, settings: GenerationConfig) -> Lengths:
        """Return the fewest and the most tokens of an output."""

    def bytes_each(
        self, prompts: Sequence[list[int]], num_samples: int, settings: GenerationConfig
    ) -> float:
        """Return the bytes that the outputs of one prompt need."""

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which the model computes."""


@torch.no_grad()
def generated(
    policy: Generator, prompts: Sequence[list[int]], num_samples: int, settings: GenerationConfig
) -> list[list[list[int]]]:
    """Return K outputs of each prompt.

    Without sampling, outputs are generated in passes that fit the device's memory. Sampled outputs
    depend on the batch, so they are generated in one pass, whether it fits or not.
    """
    settings_of_library = library_settings(policy, num_samples, settings)
    ends = _ends(settings_of_library.eos_token_id)
    extra = {"tokenizer": policy.tokenizer} if "stop_strings" in settings.further else {}
    model: Any = policy.model  # whose class, unlike that of all models, can generate

    def of_some(part: slice, _: slice) -> list[list[int]]:
        padded = policy.pad(prompts[part])
        with only_these(policy.model, settings_of_library), policy.autocast():
            found = model.generate(
                input_ids=padded.ids, attention_mask=padded.mask,
                **_processors(policy, padded), **extra,
            )  # fmt: skip
        before = 1 if policy.is_encoder_decoder else padded.ids.shape[1]
        return [_up_to(row, ends) for row in found[:, before:].tolist()]

    if settings.do_sample:
        parts = [of_some(slice(None), slice(None))]
    else:
        each = settings.num_beams * policy.bytes_each(prompts, 1, settings)
        parts = policy.searches.run(len(prompts), 1, of_some, bytes_each=each)
    outputs = [output for part in parts for output in part]
    return [outputs[i : i + num_samples] for i in range(0, len(outputs), num_samples)]


def _processors(policy: Generator, prompts: Prompts) -> dict[str, Any]:
    """Return the vocabulary mask, if any, as an argument of the library's ``generate``."""
    if policy.mask is None:
        return {}
    from grue.policies.decoding.beam_mask import MaskProcessor

    return {"logits_processor": [MaskProcessor(policy.mask, prompts, policy.ids.start)]}


def _ends(given: Any) -> frozenset[int]:
    """Return the end-of-sequence tokens: none, one or several."""
    return frozenset(given) if isinstance(given, list) else frozenset({given} - {None})


def _up_to(tokens: list[int], ends: Collection[int]) -> list[int]:
    """Return the tokens up to and including the first end-of-sequence."""
    length = next((place for place, token in enumerate(tokens, 1) if token in ends), len(tokens))
    return tokens[:length]


def library_settings(policy: Generator, num_samples: int, settings: GenerationConfig) -> Any:
    """Return the library's configuration for ``settings``, with K outputs of each prompt."""
    from transformers import GenerationConfig as LibrarySettings

    lengths = policy.lengths(settings)
    sampling = {
        "temperature": settings.temperature,
        "top_k": settings.top_k,
        "top_p": settings.top_p,
    }
    beams = {"length_penalty": settings.length_penalty} if settings.num_beams > 1 else {}
    usual = {
        "do_sample": settings.do_sample,
        "num_beams": settings.num_beams,
        "num_return_sequences": num_samples,
        "min_new_tokens": lengths.fewest,
        "max_new_tokens": lengths.most,
        "pad_token_id": policy.tokenizer.pad_token_id or 0,
        "eos_token_id": None if settings.ignore_eos else policy.ids.end,
        "decoder_start_token_id": policy.ids.start,
        **(sampling if settings.do_sample else {}),
        **beams,
    }
    return LibrarySettings(**{**usual, **settings.further})


@contextlib.contextmanager
def only_these(model: PreTrainedModel, settings: Any) -> Iterator[None]:
    """Clear the model's own settings, which the library would use for everything left open."""
    own = model.generation_config
    model.generation_config = settings
    try:
        yield
    finally:
        model.generation_config = own
