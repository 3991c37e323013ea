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
from grue.models.config import MixedPrecision, ModelType
from grue.models.precision import autocast
from grue.models.vocabulary import check_vocabulary
from grue.models.weights import placed
from grue.policies.config import PolicyArgs
from grue.policies.decoding.batch_size import Extent, Passes, bytes_per_output
from grue.policies.decoding.hf_generate import generated
from grue.policies.decoding.logits_processors import filters_of, shaping
from grue.policies.decoding.loop import Samples, joined, sample
from grue.policies.distribution import TokenDistribution, divided
from grue.policies.generation_config import GenerationConfig
from grue.policies.padding import Prompts, pad_outputs, pad_prompts
from grue.policies.prompt_encoder import PromptReader, Tokens
from grue.policies.sequences import Sequences
from grue.policies.token_offsets import moved, token_offsets
from grue.policies.truncation import Truncation, token_id
from grue.random_streams import Occasion, seed_of, uniforms
from grue.texts import OutputTokens

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from grue.policies.vocabulary_mask import Mask

log = logging.getLogger(__name__)


class Policy(PromptReader):
    """A model with its tokenizer, on one device.

    A user's own policy derives from this class, declares its keys as `Args`, and reads them from
    `args`.
    """

    Args: ClassVar[type[PolicyArgs]] = PolicyArgs
    """Model of the policy's keys."""
    model_type: ClassVar[ModelType] = "causal"
    """Architectures that a user's policy accepts; built-in policies accept both."""
    args: Any = None
    """Keys of a user's own policy."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        device: torch.device | str = "cpu",
    ) -> None:
        """Put the model on the device.

        Raises:
            UserError: the tokenizer has ids that the model does not know.
        """
        check_vocabulary(model, tokenizer)
        super().__init__(model, tokenizer)
        self.model = placed(model, device)
        self.device = torch.device(device)
        self.mask: Mask | None = None
        """Vocabulary mask of all sampled outputs; None allows all tokens."""
        self.mixed_precision: MixedPrecision = "no"
        """Type of the model's matrix products, see `TrainedModelOptions`."""
        self._passes = Passes(self.device)
        self.searches = Passes(self.device)
        """Passes of the library's ``generate``, whose outputs need more memory."""

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of every forward pass of the policy's models."""
        return autocast(self.mixed_precision, self.device)

    def scored_texts(self, outputs: Sequence[Tokens], settings: GenerationConfig) -> list[str]:
        """Return the outputs as rewards and metrics read them: truncated, then post-processed."""
        truncation = self.truncation(settings)
        if truncation is not None:
            outputs = [truncation(output) for output in outputs]
        return [settings.processed(text) for text in self.decode(outputs)]

    def scored_tokens(
        self, outputs: Sequence[Tokens], settings: GenerationConfig
    ) -> list[OutputTokens]:
        """Return the outputs' tokens with their places in `scored_texts`.

        Raises:
            UserError: the tokenizer's texts do not tell the places.
        """
        truncation = self.truncation(settings)
        added: dict[int, Any] = self.tokenizer.added_tokens_decoder
        skipped = {number for number, token in added.items() if token.special}
        return [
            self._scored_tokens(output, truncation, settings, skipped=skipped) for output in outputs
        ]

    def _scored_tokens(
        self,
        output: Tokens,
        truncation: Truncation | None,
        settings: GenerationConfig,
        *,
        skipped: set[int],
    ) -> OutputTokens:
        """Return an output's tokens as `scored_tokens` does."""
        read = output if truncation is None else truncation(output)
        (text,) = self.decode([read])
        try:
            offsets = token_offsets(read, lambda ids: self.decode([ids])[0], skipped)
        except ValueError as error:
            name = self.tokenizer.name_or_path
            raise UserError(
                f"the tokenizer '{name}' does not tell where its tokens are in {text[:60]!r}: "
                f"{error}; take a reward that needs no tokens"
            ) from error
        offsets += [(len(text), len(text))] * (len(output) - len(read))
        return OutputTokens(output, moved(offsets, settings.kept_characters(text)))

    def truncation(self, settings: GenerationConfig) -> Truncation | None:
        """Return where outputs end for rewards and metrics; None where nothing is truncated.

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

    def pad(self, prompts: Sequence[Tokens]) -> Prompts:
        """Return the prompts as tensors on the policy's device."""
        fill = self.tokenizer.pad_token_id or 0
        kind = self.is_encoder_decoder
        return pad_prompts(prompts, fill=fill, is_encoder_decoder=kind, device=self.device)

    def sample(
        self, prompts: Sequence[Tokens], draws: Tensor, settings: GenerationConfig
    ) -> list[list[Tokens]]:
        """Return K outputs of each prompt, from the uniforms ``draws`` [B, K, T].

        An output ends with its end-of-sequence token, if it has one. With ``do_sample`` false the
        most probable tokens are taken. Settings that need the library's ``generate`` belong to
        `generate`.
        """
        return self.masked_sample(prompts, draws, settings).outputs

    def masked_sample(
        self,
        prompts: Sequence[Tokens],
        draws: Tensor,
        settings: GenerationConfig,
        *,
        log_probs_at: float | None = None,
    ) -> Samples:
        """Sample as `sample` does, and return the vocabulary mask of each step too.

        With a temperature ``log_probs_at``, the tokens' log-probabilities at it are returned too.
        """
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
                    temperature=log_probs_at,
                )

        bytes_each = self.bytes_each(prompts, num_samples, settings)
        parts = self._passes.run(num_prompts, num_samples, drawn, bytes_each=bytes_each)
        return joined(parts, num_samples)

    def generate(
        self, prompts: Sequence[Tokens], num_samples: int, settings: GenerationConfig
    ) -> list[list[Tokens]]:
        """Sample by the library's ``generate``, which draws from torch's generator."""
        return generated(self, prompts, num_samples, settings)

    def bytes_each(
        self, prompts: Sequence[Tokens], num_samples: int, settings: GenerationConfig
    ) -> float:
        """Return the approximate bytes of one of K outputs of each prompt during generation."""
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
        num_samples: int = 1,
        inputs: Sequence[int],
        seed: int,
    ) -> list[Tokens]:
        """Return K outputs of each prompt, prompt by prompt, for an evaluation.

        They are drawn, or found by beams or greedy decoding. ``inputs`` are the prompts' numbers;
        with ``seed`` they fix the random numbers.
        """
        found = self.drawn(
            prompts, num_samples, settings, inputs=inputs, occasion=Occasion.EVALUATION, seed=seed
        )
        return [output for samples in found for output in samples]

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
        """Return K outputs of each prompt, by the library if the settings ask for it.

        ``inputs``, ``occasion`` and ``seed`` fix the random numbers. With the library, samples also
        depend on the batch of prompts.
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
        """Return [B, T] log pi(token | prompt, earlier tokens) in nats; zero after an output's end.

        The distribution is that of the model at ``temperature``, without filters. Gradients flow.
        """
        sequences = self.sequences(prompts, outputs)
        with self.autocast():
            logits = sequences.logits(self.model)
        of_outputs = sequences.outputs
        log_probs = TokenDistribution(divided(logits, temperature)).log_prob(of_outputs.ids)
        return log_probs * of_outputs.mask

    def sequences(self, prompts: Sequence[Tokens], outputs: Sequence[Tokens]) -> Sequences:
        """Return prompts with their outputs, on the policy's device."""
        return Sequences(self.pad(prompts), self.padded(outputs), self.ids.start)

    def padded(self, outputs: Sequence[Tokens]) -> Prompts:
        """Return outputs as tensors [N, T], padded on the right."""
        fill = self.tokenizer.pad_token_id or 0
        return pad_outputs(outputs, fill=fill, device=self.device)


def by_length(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Yield positions in batches of similar lengths, longest first to show lacks of memory."""
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
