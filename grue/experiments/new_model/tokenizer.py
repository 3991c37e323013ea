"""Tokenizers trained on the texts that a model will read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END = "<|endoftext|>"
"""End-of-text token, which also pads rows if there is no other token for that."""
PADDING = "<pad>"


def byte_pairs(
    texts: Iterator[str], vocab_size: int, max_length: int, *, padding: str = END
) -> PreTrainedTokenizerFast:
    """Return a byte-level byte-pair tokenizer, as GPT-2's, which reproduces any text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=_special(padding),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrapped(tokenizer, max_length, padding)


def words(
    texts: Iterator[str], vocab_size: int, max_length: int, *, padding: str = END
) -> PreTrainedTokenizerFast:
    """Return a tokenizer of the most frequent words between spaces.

    Other words become ``END``.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.WordLevelTrainer(
        vocab_size=vocab_size, special_tokens=_special(padding), show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrapped(tokenizer, max_length, padding)


def _special(padding: str) -> list[str]:
    return list(dict.fromkeys((END, padding)))


def _wrapped(tokenizer: Any, max_length: int, padding: str) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=padding,
        model_max_length=max_length,
    )
