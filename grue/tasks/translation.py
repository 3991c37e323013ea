"""Translation: a sentence in one language as prompt, in another as reference."""

from __future__ import annotations

from pydantic import field_validator

from grue.tasks.prompt_template import PromptedArgs
from grue.tasks.sources.hub_rows import Hub
from grue.tasks.sources.rows import Nested, Row, load_rows
from grue.tasks.task import Sample, Split


class Pair(Row):
    """A sentence in two languages."""

    translation: Nested[dict[str, str]]
    """Text by language code."""


def translation_samples(
    args: PromptedArgs, split: Split, hub: Hub, *, source: str = "en", target: str = "de"
) -> list[Sample]:
    """Return the source text between prefix and suffix; the target text is the only reference.

    Raises:
        UserError: the data cannot be loaded, or a row lacks one of the languages.
    """
    rows = load_rows(_pair_of(source, target), args.path, split, hub)
    return [
        Sample(f"{split}_{i}", args.prompt(row.translation[source]), (row.translation[target],))
        for i, row in enumerate(rows)
    ]


def _pair_of(*languages: str) -> type[Pair]:
    """Return the row model of a pair that has these languages."""

    class PairOf(Pair):
        @field_validator("translation")
        @classmethod
        def _has_languages(cls, texts: dict[str, str]) -> dict[str, str]:
            if not texts.keys() >= set(languages):
                found = ", ".join(texts) or "none"
                raise ValueError(f"needs the languages {' and '.join(languages)}; found {found}")
            return texts

    return PairOf
