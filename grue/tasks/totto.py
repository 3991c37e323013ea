"""ToTTo: a sentence about highlighted cells of a table (Parikh et al., 2020)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from grue.tasks.sources.hub_rows import parquet_branch
from grue.tasks.sources.rows import Nested, Row, load_rows
from grue.tasks.table_text import Cell, TableText, titles
from grue.tasks.task import TASKS, HubTaskArgs, Sample, Split, Task

_HUB = parquet_branch("GEM/gem", "totto")
_ANNOTATIONS = (
    "original_sentence",
    "sentence_after_deletion",
    "sentence_after_ambiguity",
    "final_sentence",
)

Annotation = dict[str, str]


class TottoArgs(HubTaskArgs):
    """Keys of the ToTTo task."""

    representation: Literal["subtable", "fulltable"] = "subtable"
    """Part of the table in the prompt: the highlighted cells alone, or the whole table."""


class _Example(Row):
    model_config = ConfigDict(extra="allow")

    table: Nested[list[list[Cell]]]
    highlighted_cells: Nested[list[Annotated[list[int], Field(min_length=2, max_length=2)]]]
    table_page_title: str
    table_section_title: str
    table_section_text: str
    sentence_annotations: Nested[list[Annotation] | dict[str, list[str]]] = Field(
        default_factory=list
    )
    """A dict of lists, as on the hub, or a list of dicts, as in the official release."""
    overlap_subset: bool | str = False

    @model_validator(mode="after")
    def _highlights_are_in_the_table(self) -> _Example:
        for row, column in self.highlighted_cells:
            if not (0 <= row < len(self.table) and 0 <= column < len(self.table[row])):
                raise ValueError(f"the highlighted cell [{row}, {column}] is not in the table")
        return self

    def annotations(self) -> list[Annotation]:
        """Return the versions of each annotator's sentence."""
        given = self.sentence_annotations
        if isinstance(given, list):
            return given
        columns = [given[name] for name in _ANNOTATIONS]
        return [dict(zip(_ANNOTATIONS, texts, strict=True)) for texts in zip(*columns, strict=True)]

    def raw_table(self) -> dict[str, Any]:
        """Return the whole row as the official evaluation reads it."""
        return {
            **dict(self),
            "sentence_annotations": self.annotations(),
            "overlap_subset": self.overlap_subset in (True, "True"),
        }


@TASKS.register("totto")
class Totto(Task[TottoArgs]):
    """Tables with highlighted cells, in the columns of the hub or of the official release."""

    Args = TottoArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the table as text, first without titles and then again with them.

        References are the final sentences; the test split has none. The metadata have the whole row
        as ``raw_table``, with ``sentence_annotations`` as a list of dicts and ``overlap_subset`` as
        a bool.
        """
        rows = load_rows(_Example, self.args.path, split, _HUB.at(self.args.revision))
        return [self._sample(f"{split}_{i}", row) for i, row in enumerate(rows)]

    def _sample(self, name: str, row: _Example) -> Sample:
        text, places = TableText(row.table), [(r, c) for r, c in row.highlighted_cells]
        whole = self.args.representation == "fulltable"
        table = text.full_table(places) if whole else text.subtable(places)
        prompt = table + titles(row.table_page_title, row.table_section_title) + table
        raw_table = row.raw_table()
        sentences = (note["final_sentence"] for note in raw_table["sentence_annotations"])
        return Sample(name, prompt, tuple(sentences), {"raw_table": raw_table})
