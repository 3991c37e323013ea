"""English words of texts by NLTK, for metrics that compare or count them."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Any

_STEMS_KEPT = 100_000

SPLITS_AT_BLANKS = (
    "it is not for scripts without spaces between words: take 'chrf', or 'rouge' with "
    "'tokenizer' = 'characters'"
)
"""Advice for texts that this tokenizer cannot split."""


def words(text: str, *, old_quotes: bool = False) -> list[str]:
    """Return the words and punctuation marks of a text, as NLTK's word tokenizer finds them.

    Sentences are split by NLTK's Punkt without learnt abbreviations, which needs no data. The full
    stop of "Mr." is then a word of its own, unlike with a trained Punkt.

    With ``old_quotes``, opening single quotes are treated as in NLTK 3.7: they stay with words of
    two or more letters that begin like a contraction, as in ``'the``.
    """
    sentences, tokenizer = _tokenizers(old_quotes)
    return [word for sentence in sentences.tokenize(text) for word in tokenizer.tokenize(sentence)]


@cache
def _tokenizers(old_quotes: bool) -> tuple[Any, Any]:
    from nltk.tokenize import NLTKWordTokenizer, PunktSentenceTokenizer

    tokenizer: Any = NLTKWordTokenizer()
    if old_quotes:
        rule = re.compile(r"(?i)(')(?!re|ve|ll|m|t|s|d|n)(\w)\b"), r"\1 \2"
        tokenizer.STARTING_QUOTES = [*tokenizer.STARTING_QUOTES[:-1], rule]
    return PunktSentenceTokenizer(), tokenizer


class Stems:
    """NLTK's default Porter stemmer, with a cache of words."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stem = lru_cache(_STEMS_KEPT)(PorterStemmer().stem)
