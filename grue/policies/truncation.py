"""Where an output ends for those who judge it: truncation of its token ids (arXiv 1909.08593).

The tokens behind that place are still the policy's choice, and are trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Truncation:
    """The first ``token`` at an index of ``after`` or more is the last that is judged."""

    token: int
    after: int = 0

    def is_met(self, tokens: Sequence[int]) -> bool:
        """Whether the output has such a token."""
        return self.token in tokens[self.after :]

    def __call__(self, tokens: Sequence[int]) -> list[int]:
        """The tokens up to and with that one; all of them where there is none."""
        if not self.is_met(tokens):
            return list(tokens)
        return list(tokens[: tokens.index(self.token, self.after) + 1])


def token_id(tokenizer: PreTrainedTokenizerBase, token: int | str) -> int:
    """The id of a token that is given as id or as text.

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
