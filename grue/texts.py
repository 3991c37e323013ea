"""Texts that rewards and metrics score: prompts, outputs, references, metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError

_SHOWN = 60

Offset = tuple[int, int]
"""First character of a token in its text, and the one after its last."""


@dataclass(frozen=True)
class OutputTokens:
    """T tokens of one output, its end-of-sequence among them."""

    ids: Sequence[int]
    """[T] ids of the policy's tokenizer."""
    offsets: Sequence[Offset]
    """[T] characters of the output, as it is scored, to which each token belongs: ``output[start:
    end]``.

    A character of several bytes belongs to every token that has one of them. A token of which the
    scored text has nothing (end-of-sequence, what is truncated or taken out) has an empty range
    where it stands.
    """


@dataclass(frozen=True)
class Texts:
    """N outputs, each with its prompt, references and metadata."""

    prompts: Sequence[str]
    """[N] prompts, not truncated."""
    outputs: Sequence[str]
    """[N] outputs without special tokens; may be empty."""
    references: Sequence[Sequence[str]]
    """[N] reference texts; an empty list where the task has none."""
    metadata: Sequence[Mapping[str, Any]]
    """[N] further values that the task knows of the input."""
    num_tokens: Sequence[int] | None = None
    """[N] number of tokens of each output, with its end-of-sequence; None outside rollouts."""
    tokens: Sequence[OutputTokens] | None = None
    """[N] tokens of each output; None except for rewards that need them."""

    def __post_init__(self) -> None:
        """Raise `ValueError` where the lengths differ."""
        lengths = {name: len(column) for name, column in self._columns().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"lengths differ: {lengths}")

    def __len__(self) -> int:
        return len(self.outputs)

    def __getitem__(self, rows: slice) -> Texts:
        given = {name: column[rows] for name, column in self._columns().items()}
        return Texts(**given)

    def _columns(self) -> dict[str, Any]:
        """Return what is known of the outputs, by the names of the fields."""
        found = {column.name: getattr(self, column.name) for column in fields(self)}
        return {name: column for name, column in found.items() if column is not None}

    def have_references(self) -> bool:
        """Return whether an input has a reference that is not blank."""
        return any(text.strip() for references in self.references for text in references)

    def check_references(self, part: str) -> None:
        """Raise `UserError` if an input lacks the reference that the part of this id needs."""
        for prompt, references in zip(self.prompts, self.references, strict=True):
            if not references:
                raise UserError(
                    f"'{part}' needs references, and the input {prompt[:_SHOWN]!r} has none; "
                    "take the metric out or choose data with references"
                )


def groups(metadata: Sequence[Mapping[str, Any]], key: str) -> dict[str, NDArray[np.int64]]:
    """Return the positions of each value of ``key``, by its text; inputs without it are in none."""
    values = [None if known.get(key) is None else str(known[key]) for known in metadata]
    names = sorted({value for value in values if value is not None})
    return {name: np.flatnonzero([value == name for value in values]) for name in names}
