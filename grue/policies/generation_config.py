"""Generation settings, all explicit: nothing is inherited from a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from common.config.base import Config, OptionalText
from common.config.fit import NonNegativeInt, PositiveFloat, PositiveInt
from common.errors import Problem
from grue.models.config import ModelType
from grue.policies.hf_generation_keys import PROCESSORS, WARPERS, library_keys, problems_of_library
from grue.policies.post_processing import kept_by_three_sentences, three_sentences


def _of_library(name: str) -> str:
    if name not in library_keys():
        raise PydanticCustomError("extra_forbidden", "unknown key")
    return name


class PostProcessing(Config):
    """Post-processing of a generated text before it is scored."""

    id: Literal["three_sentence_summary"]
    """Post-processing: keep the first three sentences, one per line."""


class GenerationConfig(Config):
    """Settings of one kind of generation; the defaults are those of published runs.

    Further keys are those of the installed library's generation configuration, such as
    ``repetition_penalty``. Rollouts accept only those that change the distribution of a token.
    """

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, AfterValidator(_of_library)], Any]

    do_sample: bool = False
    """If true, tokens are sampled; otherwise the most probable ones are taken."""
    temperature: PositiveFloat = 1.0
    """Divisor of the logits before sampling."""
    top_k: NonNegativeInt = 50
    """Number of most probable tokens to sample from; 0 samples from all."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Probability of the set of most probable tokens to sample from."""
    num_beams: PositiveInt = 1
    """Width of beam search; 1 for none."""
    length_penalty: float = 1.0
    """Exponent of the length by which a beam's log-probability is divided."""
    min_length: NonNegativeInt = 0
    """Smallest length at which end-of-sequence may be generated. It counts new tokens; for
    encoder-decoder models also the decoder's start token."""
    max_new_tokens: PositiveInt | None = None
    """Largest number of new tokens; None is allowed for encoder-decoder models, see
    ``max_length``."""
    max_length: PositiveInt = 20
    """Largest length of an encoder-decoder model's output, with the decoder's start token, if
    ``max_new_tokens`` is not given."""
    ignore_eos: bool = False
    """If true, every output has the largest length: end-of-sequence is a token like others."""
    truncate_token: NonNegativeInt | OptionalText = None
    """Token, as id or text, at which an output ends for rewards and metrics: its first occurrence
    at an index of ``truncate_after`` or more. Later tokens are generated and trained on, but not
    scored. None for no truncation."""
    truncate_after: NonNegativeInt = 0
    """Index, from 0, at which the search for ``truncate_token`` starts."""
    post_processing_fn: PostProcessing | None = None
    """Post-processing of generated text before it is scored."""

    @classmethod
    def further_names(cls) -> list[str]:
        """Return the keys that the library knows."""
        return sorted(library_keys())

    @property
    def further(self) -> dict[str, Any]:
        """Keys of the library that are given and not null."""
        return {name: value for name, value in self.__pydantic_extra__.items() if value is not None}

    @property
    def needs_library(self) -> bool:
        """True if the library's ``generate`` must generate the outputs. It needs no scores then."""
        return self.num_beams > 1 or bool(self.further.keys() - PROCESSORS - WARPERS)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of contradicting lengths, and those that the library finds."""
        yield from super().problems()
        usual = {"do_sample": self.do_sample, "num_beams": self.num_beams, "top_k": self.top_k}
        yield from problems_of_library(self.further, usual)
        if self.ignore_eos and "eos_token_id" in self.further:
            yield Problem("contradicts 'ignore_eos'; drop one of them", "eos_token_id",
                          self.further["eos_token_id"])  # fmt: skip
        longest = self.max_new_tokens or self.max_length
        if self.truncate_token is not None and self.truncate_after >= longest:
            yield Problem(f"no token of the longest output ({longest}) has this index; lower it",
                          "truncate_after", self.truncate_after)  # fmt: skip
        if self.truncate_token is None and self.truncate_after:
            yield Problem("needs 'truncate_token'; give that too", "truncate_after",
                          self.truncate_after)  # fmt: skip
        if self.min_length > longest:
            yield Problem(f"is more than the longest output ({longest})", "min_length",
                          self.min_length)  # fmt: skip

    def most_new_tokens(self, *, is_encoder_decoder: bool) -> int:
        """Return the largest number of tokens of an output.

        Raises:
            ValueError: the model is causal and ``max_new_tokens`` is not given.
        """
        if self.max_new_tokens is not None:
            return self.max_new_tokens
        if not is_encoder_decoder:
            raise ValueError("a causal model needs 'max_new_tokens'")
        return self.max_length - 1

    def fewest_new_tokens(self, *, is_encoder_decoder: bool) -> int:
        """Return the number of tokens before end-of-sequence may be generated."""
        return max(self.min_length - 1, 0) if is_encoder_decoder else self.min_length

    def processed(self, text: str) -> str:
        """Return a generated text as it is scored."""
        return text if self.post_processing_fn is None else three_sentences(text)

    def kept_characters(self, text: str) -> Sequence[int]:
        """Return the index in a generated text of each character of `processed`."""
        if self.post_processing_fn is None:
            return range(len(text))
        return kept_by_three_sentences(text)


def generation_problems(
    settings: GenerationConfig, model_type: ModelType, key: str
) -> Iterator[Problem]:
    """Yield the problems of the settings, at ``key``, for a model of this type."""
    yield from (problem.below(key) for problem in settings.problems())
    if model_type == "causal" and settings.max_new_tokens is None:
        yield Problem("a causal model needs it", f"{key}.max_new_tokens")
