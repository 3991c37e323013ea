"""Prepared outputs, references and tables of ToTTo's evaluation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from grue.metrics.tokens.moses import detokenized
from grue.texts import Texts

NUM_REFERENCES = 3
_NULL = "<null>"
_SHOWN = 60


def rows(texts: Texts, part: str) -> list[Mapping[str, Any]]:
    """Return [N] rows of the data set, from ``metadata["raw_table"]``.

    Raises:
        UserError: an input has no table; ``part`` is the id of the metric.
    """
    for prompt, metadata in zip(texts.prompts, texts.metadata, strict=True):
        if "raw_table" not in metadata:
            raise UserError(
                f"'{part}' needs the table of each input (metadata 'raw_table'), and the input "
                f"{prompt[:_SHOWN]!r} has none; take the part out or choose the task 'totto'"
            )
    return [metadata["raw_table"] for metadata in texts.metadata]


def subsets(raw_tables: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[np.bool_]]:
    """Return [N] subset masks, by name: all, headers in the training data, other headers."""
    overlap = np.array([row["overlap_subset"] is True for row in raw_tables], np.bool_)
    return {"overall": np.ones_like(overlap), "overlap": overlap, "non_overlap": ~overlap}


def prepared(text: str) -> str:
    """Return a text lower-cased and detokenized; ``<null>`` for an empty one."""
    return detokenized(" ".join(text.lower().split()) or _NULL)


def prepared_references(references: Sequence[str]) -> list[str]:
    """Return the first three references; ``<null>`` for missing ones."""
    first = references[:NUM_REFERENCES]
    return [prepared(text) for text in (*first, *[""] * (NUM_REFERENCES - len(first)))]


def tokens(text: str) -> list[str]:
    """Return the words of a prepared text, as sacreBLEU's tokenizer 13a separates them."""
    separated: str = _tokenizer()(text)
    return separated.split()


@cache
def _tokenizer() -> Any:
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    return Tokenizer13a()


def whole_table(row: Mapping[str, Any]) -> Iterator[list[str]]:
    """Return the words of each cell, of both titles and of the section's text; none is empty."""
    cells = (cell["value"] for line in row["table"] for cell in line)
    titles = row["table_page_title"], row["table_section_title"]
    return _entries((*cells, *titles, row["table_section_text"]))


def highlighted(row: Mapping[str, Any]) -> Iterator[list[str]]:
    """Return the words of each highlighted cell and of both titles; none is empty."""
    cells = (row["table"][line][cell]["value"] for line, cell in row["highlighted_cells"])
    return _entries((*cells, row["table_page_title"], row["table_section_title"]))


def _entries(values: Iterable[str]) -> Iterator[list[str]]:
    for value in values:
        text = " ".join(value.lower().replace("|", "-").split())
        if found := tokens(detokenized(text)):
            yield found
