"""Making the input of metrics and rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grue.texts import Texts


def made_texts(
    outputs: Sequence[str],
    references: Sequence[Sequence[str]] | None = None,
    metadata: Sequence[Mapping[str, Any]] | None = None,
) -> Texts:
    """Texts whose prompts are all the same; without references or metadata unless given."""
    n = len(outputs)
    return Texts(["the prompt"] * n, outputs, references or [()] * n, metadata or [{}] * n)
