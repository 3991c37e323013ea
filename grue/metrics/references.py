"""References in the form of published results: one text that is written as a list."""

from __future__ import annotations

from collections.abc import Sequence


def as_one_text(references: Sequence[str]) -> list[str]:
    """Return the single reference ``"['first', 'second']"``, with brackets and quotes.

    Published results with METEOR, and with ROUGE over several references, were computed with it: a
    list of texts was passed to a library field that is declared as one text.
    """
    return [str(list(references))]
