"""Token rows for supervised finetuning: one per input and reference."""

from __future__ import annotations

import functools
import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from common.errors import UserError
from grue.models.config import ModelType
from grue.policies.chat import chats_of
from grue.tasks.task import Sample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

IGNORED = -100
"""Label of tokens that the loss ignores."""

Row = dict[str, list[int]]


@dataclass(frozen=True)
class Rows(torch.utils.data.Dataset[Row]):
    """Rows with ``input_ids`` and ``labels``, without padding."""

    rows: Sequence[Row]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> Row:
        return self.rows[number]


def make_rows(
    samples: Sequence[Sample],
    tokenizer: PreTrainedTokenizerBase,
    model_type: ModelType,
    *,
    limit: int,
    join_with_blank: bool = True,
    append_eos: bool = False,
    mask_prompt: bool = False,
) -> Rows:
    """Return the rows of all samples, in their order.

    A causal model reads prompt and reference as one text, and learns all of it unless
    ``mask_prompt`` is true. An encoder-decoder model reads the prompt and learns the reference.
    The reference of a prompt of chat messages follows them at once, whose template has the special
    tokens.

    Args:
        samples: samples with references; those without are skipped.
        tokenizer: tokenizer of the model.
        model_type: causal or encoder-decoder.
        limit: largest number of tokens of a row; longer ones are truncated on the right.
        join_with_blank: if true, a blank is inserted between prompt and reference of a causal model
            if neither has one.
        append_eos: if true, a causal model learns to end.
        mask_prompt: if true, a causal model learns the reference alone.

    Raises:
        UserError: there is no reference, or no row with a token to learn. Rows without one are
            skipped, and their number is logged.
    """
    chats = chats_of(samples, tokenizer)
    prompts = [sample.prompt for sample in samples] if chats is None else chats
    pairs = [
        (prompt, reference)
        for prompt, sample in zip(prompts, samples, strict=True)
        for reference in sample.references
    ]
    check_references(len(samples), len(pairs))
    if model_type == "seq2seq":
        rows = _encoder_rows(pairs, tokenizer, limit, with_special=chats is None)
        return _with_something_to_learn(list(rows), len(pairs), limit, first=0)
    if chats is None and join_with_blank:
        pairs = [_joined(*pair) for pair in pairs]
    reader: Any = tokenizer
    read = functools.partial(reader, add_special_tokens=chats is None, verbose=False)
    end = [tokenizer.eos_token_id] if append_eos else []
    rows = _causal_rows(pairs, read, limit, end, mask_prompt)
    return _with_something_to_learn(list(rows), len(pairs), limit, first=1)


def check_references(num_samples: int, num_references: int) -> None:
    """Check that training samples have references, each of which makes a row.

    Raises:
        UserError: no sample has a reference.
    """
    if not num_references:
        raise UserError(
            f"'datapool': none of {num_samples} training samples has a reference, which "
            "supervised finetuning learns; choose a task that has some, or an algorithm that "
            "learns from rewards"
        )


def _with_something_to_learn(rows: Sequence[Row], count: int, limit: int, *, first: int) -> Rows:
    """Return the rows of ``count`` references with a label to learn at ``first`` or later.

    Raises:
        UserError: there are no such rows.
    """
    found = [row for row in rows if any(label != IGNORED for label in row["labels"][first:])]
    if not found:
        raise UserError(
            f"'datapool': none of the rows of {count} references has a token to learn within "
            f"{limit} tokens: with 'alg.mask_prompt' = true prompts fill them, or texts are empty; "
            "take shorter prompts, a model with more positions, or 'alg.mask_prompt' = false"
        )
    if len(found) < count:
        log.info("%d of %d rows are left out: they have no token to learn within %d tokens",
                 count - len(found), count, limit)  # fmt: skip
    return Rows(found)


def _joined(prompt: str, reference: str) -> tuple[str, str]:
    apart = not prompt or not reference or prompt[-1].isspace() or reference[0].isspace()
    return prompt, reference if apart else f" {reference}"


def _encoder_rows(
    pairs: Sequence[tuple[str, str]],
    tokenizer: PreTrainedTokenizerBase,
    limit: int,
    *,
    with_special: bool,
) -> Iterator[Row]:
    """Yield rows; ``with_special`` adds the tokenizer's special tokens to prompts."""
    if not pairs:
        return
    rows = []
    for kind, key, texts, special in (
        ("prompts", "text", [prompt for prompt, _ in pairs], with_special),
        ("references", "text_target", [reference for _, reference in pairs], True),
    ):
        options: Any = {"add_special_tokens": special}
        found = tokenizer(**{key: texts}, truncation=True, max_length=limit, **options)["input_ids"]
        full = [text for text, ids in zip(texts, found, strict=True) if len(ids) >= limit]
        whole = tokenizer(**{key: full}, verbose=False, **options)["input_ids"] if full else []
        _tell_of_cut(sum(len(ids) > limit for ids in whole), len(pairs), kind, limit)
        rows.append(found)
    for ids, labels in zip(*rows, strict=True):
        yield {"input_ids": ids, "labels": labels}


def _causal_rows(
    pairs: Sequence[tuple[str, str]],
    read: Callable[[str], Any],
    limit: int,
    end: Sequence[Any],
    mask_prompt: bool,
) -> Iterator[Row]:
    """Yield rows of the ids that ``read`` finds, and ``end`` behind them."""
    num_cut = 0
    for prompt, reference in pairs:
        ids: list[int] = [*read(prompt + reference)["input_ids"], *end]
        labels = list(ids)
        if mask_prompt:
            num_prompt = _num_shared(read(prompt)["input_ids"], ids)
            labels[:num_prompt] = [IGNORED] * num_prompt
        num_cut += len(ids) > limit
        if ids:
            yield {"input_ids": ids[:limit], "labels": labels[:limit]}
    _tell_of_cut(num_cut, len(pairs), "rows of prompt and reference", limit)


def _tell_of_cut(num_cut: int, count: int, kind: str, limit: int) -> None:
    if num_cut:
        log.warning("%d of %d %s are longer than %d tokens and are cut on the right", num_cut,
                    count, kind, limit)  # fmt: skip


def _num_shared(some: Sequence[int], others: Sequence[int]) -> int:
    """Return the number of equal first tokens; one that crosses the prompt's end differs."""
    pairs = zip(some, others, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def collate(rows: Sequence[Row], *, pad_token: int) -> dict[str, Tensor]:
    """Return rows as tensors [B, P], padded on the right to the longest of them."""
    return {
        "input_ids": _filled([row["input_ids"] for row in rows], pad_token),
        "attention_mask": _filled([[1] * len(row["input_ids"]) for row in rows], 0),
        "labels": _filled([row["labels"] for row in rows], IGNORED),
    }


def _filled(sequences: Sequence[Sequence[int]], fill: int) -> Tensor:
    width = max(map(len, sequences))
    return torch.tensor([[*ids, *[fill] * (width - len(ids))] for ids in sequences])
