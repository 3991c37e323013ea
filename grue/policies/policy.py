"""A language model as a policy: prompts in, outputs and their log-probabilities out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from common.errors import UserError
from grue.models.config import MixedPrecision, ModelType, Side
from grue.models.precision import autocast
from grue.models.vocabulary import check_vocabulary
from grue.models.weights import placed
from grue.policies.config import PolicyArgs
from grue.policies.decoding.batch_size import Extent, Passes, bytes_per_output
from grue.policies.decoding.library import generated
from grue.policies.decoding.logits_processors import filters_of, shaping
from grue.policies.decoding.loop import Lengths, Samples, joined, sample
from grue.policies.decoding.steps import Ids
from grue.policies.distribution import TokenDistribution, divided
from grue.policies.generation_config import GenerationConfig
from grue.policies.padding import Prompts, pad
from grue.policies.pretokenized import check_carried
from grue.policies.sequences import Sequences
from grue.policies.truncation import Truncation, token_id
from grue.random_streams import Occasion, seed_of, uniforms

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from grue.policies.vocabulary_mask import Mask
    from grue.tasks.task import Sample

log = logging.getLogger(__name__)

Tokens = list[int]

_UNLIMITED = 2**31 - 1
"""More tokens than any prompt has."""


class Policy:
    """A model with its tokenizer, on one device.

    A class outside the project that a plan names derives from it, gives its own keys as `Args`, and
    finds them in `args`.
    """

    Args: ClassVar[type[PolicyArgs]] = PolicyArgs
    """The model of the policy's keys."""
    model_type: ClassVar[ModelType] = "causal"
    """Which models a policy outside the project takes; those of the project take both."""
    args: Any = None
    """The policy's own keys, of a policy outside the project."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        device: torch.device | str = "cpu",
    ) -> None:
        """Puts the model on the device.

        Raises:
            UserError: the tokenizer has ids that the model does not know.
        """
        check_vocabulary(model, tokenizer)
        self.model = placed(model, device)
        self.tokenizer = tokenizer
        self.device = torch.device(device)
        self.is_encoder_decoder = bool(model.config.is_encoder_decoder)
        end: Any = tokenizer.eos_token_id
        self.ids = Ids(end, _start(model) if self.is_encoder_decoder else None)
        self.mask: Mask | None = None
        """Which tokens may come, wherever outputs are drawn; None for all."""
        self.prefix, self.suffix = "", ""
        """Texts around each prompt, whose tokens are found apart from its own."""
        self.mixed_precision: MixedPrecision = "no"
        """Type of the model's products, see `TrainedModelOptions`."""
        self._passes = Passes(self.device)
        self.searches = Passes(self.device)
        """Passes of the library's ``generate``, whose outputs need more memory."""
        self._told: set[str] = set()
        """What has been said of limits and cut prompts."""

    def autocast(self) -> AbstractContextManager[Any]:
        """Around every pass of the policy's models."""
        return autocast(self.mixed_precision, self.device)

    @property
    def longest(self) -> int | None:
        """Positions that the model has, where its architecture limits them."""
        config = self.model.config
        names = ("max_position_embeddings", "n_positions")
        found = [getattr(config, name, None) for name in names]
        return next((number for number in found if number), None)

    def read(
        self,
        samples: Sequence[Sample],
        settings: GenerationConfig,
        max_length: int | None,
        side: Side = "left",
        *,
        level: int = logging.INFO,
    ) -> list[Tokens]:
        """Ids of the samples' prompts, cut as generation with the settings needs it.

        Says once, at a ``level`` of the log, how many are cut, and where that is shorter than
        ``max_length``, see `prompt_limit`.
        """
        most = self.lengths(settings).most
        limit = self.prompt_limit(max_length, most)
        prompts = self.encode_samples(samples, limit, side)
        if max_length is not None and limit < max_length:
            self._tell(
                level,
                f"prompts are cut to {limit} tokens, not to {max_length}: the model has "
                f"{self.longest} positions, and an output up to {most} tokens",
            )
        num_cut = self._num_cut(samples, prompts, limit)
        if num_cut:
            self._tell(
                level,
                f"{num_cut} of {len(samples)} prompts are longer than {limit} tokens and are cut "
                f"on the {side}",
            )
        return prompts

    def _tell(self, level: int, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            log.log(level, "%s", message)

    def _num_cut(self, samples: Sequence[Sample], prompts: Sequence[Tokens], limit: int) -> int:
        """How many prompts are cut; whole, those alone are read again that have all they may."""
        full = [
            sample for sample, prompt in zip(samples, prompts, strict=True) if len(prompt) >= limit
        ]
        return sum(len(prompt) > limit for prompt in self.encode_samples(full, _UNLIMITED))

    def prompt_limit(self, max_length: int | None, most_new_tokens: int) -> int:
        """Most tokens of a prompt: as configured, and so that a causal model's output fits in too.

        Raises:
            UserError: nothing is left for the prompt.
        """
        limit = max_length or self.tokenizer.model_max_length
        longest = self.longest
        if longest is not None:
            limit = min(limit, longest - (0 if self.is_encoder_decoder else most_new_tokens))
        if limit < 1:
            raise UserError(
                f"'max_new_tokens' = {most_new_tokens}: leaves no room for a prompt among the "
                f"model's {longest} positions; lower it"
            )
        return limit

    def encode(self, prompts: Sequence[str], limit: int, side: Side = "left") -> list[Tokens]:
        """Ids of the prompts, cut on ``side`` to ``limit`` tokens.

        The texts around a prompt stay whole; with them, what the tokenizer puts before every text
        comes first. A prompt without tokens becomes the beginning-of-sequence token, or else the
        end-of-sequence token: a model needs something to go on from.

        Raises:
            UserError: the texts around it leave no room for a prompt.
        """
        if not prompts:
            return []
        if not (self.prefix or self.suffix):
            encoded = self._encoded(prompts, limit, side)
            return [ids or [self._empty_prompt()] for ids in encoded]
        before, behind, room = self._around(limit)
        encoded = self._encoded(prompts, room, side, add_special_tokens=False)
        return [[*before, *ids, *behind] for ids in encoded]

    def encode_samples(
        self, samples: Sequence[Sample], limit: int, side: Side = "left"
    ) -> list[Tokens]:
        """Like `encode`, of samples; those that carry tokens are read as these, cut likewise.

        Raises:
            UserError: the tokens are another tokenizer's.
        """
        if all(sample.token_ids is None for sample in samples):
            return self.encode([sample.prompt for sample in samples], limit, side)
        check_carried(samples, self.tokenizer)
        texts = [sample.prompt for sample in samples if sample.token_ids is None]
        others = iter(self.encode(texts, limit, side))
        before, behind, room = self._around(limit)
        cut = slice(-room, None) if side == "left" else slice(room)
        return [
            next(others) if sample.token_ids is None else [*before, *sample.token_ids[cut], *behind]
            for sample in samples
        ]

    def _around(self, limit: int) -> tuple[Tokens, Tokens, int]:
        """What stands before and behind every prompt, and how much room it leaves for one."""
        opening = self.tokenizer("")["input_ids"]
        before, behind = (
            self.tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (self.prefix, self.suffix)
        )
        room = limit - len(opening) - len(before) - len(behind)
        if room < 1:
            raise UserError(
                f"'max_prompt_length' = {limit}: 'query_prefix' and 'query_suffix' have "
                f"{limit - room} tokens, which leaves no room for a prompt; raise it"
            )
        return [*opening, *before], behind, room

    def _encoded(
        self, prompts: Sequence[str], limit: int, side: Side, **options: Any
    ) -> list[Tokens]:
        """Ids of the prompts alone, cut on ``side`` to ``limit`` tokens."""
        usual, self.tokenizer.truncation_side = self.tokenizer.truncation_side, side
        try:
            found: Any = self.tokenizer(list(prompts), truncation=True, max_length=limit, **options)
        finally:
            self.tokenizer.truncation_side = usual
        ids: list[Tokens] = found["input_ids"]
        return ids

    def decode(self, outputs: Sequence[Tokens]) -> list[str]:
        """The outputs as texts, without special tokens."""
        texts: list[str] = self.tokenizer.batch_decode(
            list(outputs), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return texts

    def judged(self, outputs: Sequence[Tokens], settings: GenerationConfig) -> list[str]:
        """The outputs as the texts that rewards and metrics see: truncated, then post-processed."""
        truncation = self.truncation(settings)
        if truncation is not None:
            outputs = [truncation(output) for output in outputs]
        return [settings.processed(text) for text in self.decode(outputs)]

    def truncation(self, settings: GenerationConfig) -> Truncation | None:
        """Where outputs end for rewards and metrics; None where nothing is cut.

        Raises:
            UserError: the tokenizer has no such token.
        """
        token = settings.truncate_token
        if token is None:
            return None
        try:
            return Truncation(token_id(self.tokenizer, token), settings.truncate_after)
        except ValueError as error:
            raise UserError(f"'generation_kwargs.truncate_token' = {token!r}: {error}") from error

    def lengths(self, settings: GenerationConfig) -> Lengths:
        """Least and greatest length of an output."""
        kind = {"is_encoder_decoder": self.is_encoder_decoder}
        return Lengths(settings.fewest_new_tokens(**kind), settings.most_new_tokens(**kind))

    def pad(self, prompts: Sequence[Tokens]) -> Prompts:
        """The prompts as tensors on the policy's device."""
        fill = self.tokenizer.pad_token_id or 0
        return pad(prompts, fill=fill, left=not self.is_encoder_decoder, device=self.device)

    def sample(
        self, prompts: Sequence[Tokens], draws: Tensor, settings: GenerationConfig
    ) -> list[list[Tokens]]:
        """K outputs of each prompt, from the uniforms ``draws`` [B, K, T].

        An output ends with its end-of-sequence token, if it has one. With ``do_sample`` false the
        most probable tokens are taken. What needs the library is for `generate`.
        """
        return self.masked_sample(prompts, draws, settings).outputs

    def masked_sample(
        self, prompts: Sequence[Tokens], draws: Tensor, settings: GenerationConfig
    ) -> Samples:
        """Like `sample`; also what the policy's mask allowed at each step."""
        num_prompts, num_samples, _ = draws.shape
        ids = replace(self.ids, end=None) if settings.ignore_eos else self.ids
        filters, lengths = filters_of(settings), self.lengths(settings)
        shape = shaping(settings, lengths.most, ids.end)

        def drawn(part: slice, samples: slice) -> Samples:
            with self.autocast():
                return sample(
                    self.model,
                    self.pad(prompts[part]),
                    draws[part, samples],
                    lengths=lengths,
                    filters=filters,
                    ids=ids,
                    mask=self.mask,
                    shaping=shape,
                )

        bytes_each = self.bytes_each(prompts, num_samples, settings)
        parts = self._passes.run(num_prompts, num_samples, drawn, bytes_each=bytes_each)
        return joined(parts, num_samples)

    def generate(
        self, prompts: Sequence[Tokens], num_samples: int, settings: GenerationConfig
    ) -> list[list[Tokens]]:
        """Like `sample`, by the library's ``generate``, which draws from torch's generator."""
        return generated(self, prompts, num_samples, settings)

    def bytes_each(
        self, prompts: Sequence[Tokens], num_samples: int, settings: GenerationConfig
    ) -> float:
        """About what one of K outputs of each prompt needs in memory while it is made."""
        longest = max(map(len, prompts), default=0)
        extent = Extent(longest, self.lengths(settings).most, num_samples)
        of_mask = None if self.mask is None else self.mask.model
        models = [model for model in (self.model, of_mask) if model is not None]
        return sum(bytes_per_output(model, extent) for model in models)

    def outputs(
        self,
        prompts: Sequence[Tokens],
        settings: GenerationConfig,
        *,
        inputs: Sequence[int],
        seed: int,
    ) -> list[Tokens]:
        """One output per prompt, as an evaluation wants it: beams, samples or most probable tokens.

        ``inputs`` are numbers that stand for the prompts; with ``seed`` they fix what is drawn.
        """
        occasion = Occasion.EVALUATION
        found = self.drawn(prompts, 1, settings, inputs=inputs, occasion=occasion, seed=seed)
        return [samples[0] for samples in found]

    def drawn(
        self,
        prompts: Sequence[Tokens],
        num_samples: int,
        settings: GenerationConfig,
        *,
        inputs: Sequence[int],
        occasion: Occasion,
        seed: int,
        by_library: bool = False,
    ) -> list[list[Tokens]]:
        """K outputs of each prompt, by the library where it is asked for or the settings need it.

        ``inputs``, ``occasion`` and ``seed`` fix what is drawn; by the library, also which prompts
        come together.
        """
        if by_library or settings.needs_library:
            with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
                torch.manual_seed(seed_of(occasion, seed, *inputs))
                return self.generate(prompts, num_samples, settings)
        most = self.lengths(settings).most
        return self.sample(prompts, uniforms(occasion, seed, inputs, num_samples, most), settings)

    def log_probs(
        self, prompts: Sequence[Tokens], outputs: Sequence[Tokens], temperature: float = 1.0
    ) -> Tensor:
        """[B, T] log pi(token | prompt, earlier tokens) in nats; zero after an output's end.

        The distribution is that of the model at ``temperature``, without filters. Gradients flow.
        """
        sequences = self.sequences(prompts, outputs)
        with self.autocast():
            logits = sequences.logits(self.model)
        of_outputs = sequences.outputs
        log_probs = TokenDistribution(divided(logits, temperature)).log_prob(of_outputs.ids)
        return log_probs * of_outputs.mask

    def sequences(self, prompts: Sequence[Tokens], outputs: Sequence[Tokens]) -> Sequences:
        """Prompts with their outputs, on the policy's device."""
        return Sequences(self.pad(prompts), self.padded(outputs), self.ids.start)

    def padded(self, outputs: Sequence[Tokens]) -> Prompts:
        """Outputs as tensors [N, T], padded on the right."""
        fill = self.tokenizer.pad_token_id or 0
        return pad(outputs, fill=fill, left=False, device=self.device)

    def _empty_prompt(self) -> int:
        found: Any = self.tokenizer.bos_token_id
        found = self.ids.end if found is None else found
        if found is None:
            raise UserError("a prompt has no tokens, and the tokenizer knows none to begin with")
        return int(found)


def by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Positions in batches of near lengths, longest first: a lack of memory shows at once."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def _start(model: PreTrainedModel) -> int:
    """The decoder's first token."""
    for config in (model.config, model.generation_config):
        found = getattr(config, "decoder_start_token_id", None)
        if found is not None:
            return int(found)
    return int(model.config.pad_token_id or 0)
