"""Truncation of outputs for rewards and metrics, at a token (arXiv 1909.08593).

Later tokens are still sampled by the policy and trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Truncation:
    """Truncation after the first ``token`` at an index of ``after`` or more."""

    token: int
    after: int = 0

    def is_met(self, tokens: Sequence[int]) -> bool:
        """Return whether the output has such a token."""
        return self.token in tokens[self.after :]

    def __call__(self, tokens: Sequence[int]) -> list[int]:
        """Return the tokens up to and including that token; all of them if there is none."""
        if not self.is_met(tokens):
            return list(tokens)
        return list(tokens[: tokens.index(self.token, self.after) + 1])


def token_id(tokenizer: PreTrainedTokenizerBase, token: int | str) -> int:
    """Return the id of a token that is given as id or as text.

    Raises:
        ValueError: the text is not a single token, or the id is outside the vocabulary.
    """
    if isinstance(token, str):
        ids: list[int] = tokenizer(token, add_special_tokens=False)["input_ids"]
        if len(ids) != 1:
            raise ValueError(f"is {len(ids)} tokens {ids} of the tokenizer; name one of them")
        return ids[0]
    if token >= len(tokenizer):
        raise ValueError(f"the vocabulary has the ids 0 to {len(tokenizer) - 1}")
    return token
