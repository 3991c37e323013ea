"""Texts that rewards and metrics score: prompts, outputs, references, metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError

_SHOWN = 60


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

    def __post_init__(self) -> None:
        """Raise `ValueError` where the lengths differ."""
        lengths = {
            name: len(getattr(self, name))
            for name in ("prompts", "outputs", "references", "metadata")
        }
        if len(set(lengths.values())) > 1:
            raise ValueError(f"lengths differ: {lengths}")

    def __len__(self) -> int:
        return len(self.outputs)

    def __getitem__(self, rows: slice) -> Texts:
        return Texts(
            self.prompts[rows], self.outputs[rows], self.references[rows], self.metadata[rows]
        )

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
    values = [str(known[key]) if key in known else None for known in metadata]
    names = sorted({value for value in values if value is not None})
    return {name: np.flatnonzero([value == name for value in values]) for name in names}
