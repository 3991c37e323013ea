"""Prompts as token ids: read with the text around them, and cut so that an output fits in too."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from grue.models.config import Side
from grue.policies.chat import chats_of
from grue.policies.decoding.loop import Lengths
from grue.policies.decoding.steps import Ids
from grue.policies.generation_config import GenerationConfig
from grue.policies.pretokenized import check_tokenizer_match

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from grue.tasks.task import Sample

log = logging.getLogger(__name__)


Tokens = list[int]
_UNLIMITED = 2**31 - 1
"""Limit that no prompt reaches."""


class PromptReader:
    """A tokenizer, and the limits of the model that reads its tokens."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        end: Any = tokenizer.eos_token_id
        self.tokenizer = tokenizer
        self.is_encoder_decoder = bool(model.config.is_encoder_decoder)
        self.ids = Ids(end, _start(model) if self.is_encoder_decoder else None)
        self.prefix, self.suffix = "", ""
        """Texts around each prompt, tokenized separately from it."""
        self._model_config = model.config
        self._told: set[str] = set()
        """Messages about limits and truncated prompts that have been logged."""

    @property
    def longest(self) -> int | None:
        """Number of positions of the model; None if its architecture has no limit."""
        config = self._model_config
        names = ("max_position_embeddings", "n_positions")
        found = [getattr(config, name, None) for name in names]
        return next((number for number in found if number), None)

    def lengths(self, settings: GenerationConfig) -> Lengths:
        """Return the smallest and largest length of an output."""
        kind = {"is_encoder_decoder": self.is_encoder_decoder}
        return Lengths(settings.fewest_new_tokens(**kind), settings.most_new_tokens(**kind))

    def read(
        self,
        samples: Sequence[Sample],
        settings: GenerationConfig,
        max_length: int | None,
        side: Side = "left",
        *,
        level: int = logging.INFO,
    ) -> list[Tokens]:
        """Return the ids of the samples' prompts, truncated to leave room for outputs.

        Logs once, at ``level``, how many prompts are truncated, and a limit that is below
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
        """Return the number of truncated prompts; only those of full length are tokenized again."""
        full = [
            sample for sample, prompt in zip(samples, prompts, strict=True) if len(prompt) >= limit
        ]
        return sum(len(prompt) > limit for prompt in self.encode_samples(full, _UNLIMITED))

    def prompt_limit(self, max_length: int | None, most_new_tokens: int) -> int:
        """Return the largest number of prompt tokens that ``max_length`` and the model allow.

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
        """Return the ids of the prompts, truncated on ``side`` to ``limit`` tokens.

        The texts around a prompt are kept whole; if there are any, the tokenizer's own first tokens
        come before them. An empty prompt becomes the beginning-of-sequence token, or else the
        end-of-sequence token, because a model needs at least one token.

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
        """Return the ids of samples as `encode` does; those of tokens or messages likewise.

        Raises:
            UserError: the tokens are another tokenizer's, or it has no template for messages.
        """
        chats = chats_of(samples, self.tokenizer)
        if chats is not None:
            self._check_nothing_around()
            return self._encoded(chats, limit, side, add_special_tokens=False)
        if all(sample.token_ids is None for sample in samples):
            return self.encode([sample.prompt for sample in samples], limit, side)
        check_tokenizer_match(samples, self.tokenizer)
        texts = [sample.prompt for sample in samples if sample.token_ids is None]
        others = iter(self.encode(texts, limit, side))
        before, behind, room = self._around(limit)
        cut = slice(-room, None) if side == "left" else slice(room)
        return [
            next(others) if sample.token_ids is None else [*before, *sample.token_ids[cut], *behind]
            for sample in samples
        ]

    def _check_nothing_around(self) -> None:
        if self.prefix or self.suffix:
            raise UserError(
                "'query_prefix' and 'query_suffix' stand around plain texts, and the prompts are "
                "chat messages; leave them out, or set 'datapool.args.chat_template' = false"
            )

    def _around(self, limit: int) -> tuple[Tokens, Tokens, int]:
        """Return the tokens around every prompt, and the number of tokens left for one."""
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
        """Return the ids of the prompts alone, truncated on ``side`` to ``limit`` tokens."""
        usual, self.tokenizer.truncation_side = self.tokenizer.truncation_side, side
        try:
            found: Any = self.tokenizer(list(prompts), truncation=True, max_length=limit, **options)
        finally:
            self.tokenizer.truncation_side = usual
        ids: list[Tokens] = found["input_ids"]
        return ids

    def decode(self, outputs: Sequence[Tokens]) -> list[str]:
        """Return the outputs as texts, without special tokens."""
        texts: list[str] = self.tokenizer.batch_decode(
            list(outputs), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return texts

    def _empty_prompt(self) -> int:
        found: Any = self.tokenizer.bos_token_id
        found = self.ids.end if found is None else found
        if found is None:
            raise UserError("a prompt has no tokens, and the tokenizer knows none to begin with")
        return int(found)


def _start(model: PreTrainedModel) -> int:
    """Return the decoder's first token."""
    for config in (model.config, model.generation_config):
        found = getattr(config, "decoder_start_token_id", None)
        if found is not None:
            return int(found)
    return int(model.config.pad_token_id or 0)
