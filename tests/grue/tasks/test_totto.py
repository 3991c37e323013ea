"""The tables: prompts, references and the rows for the official evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from tests.grue.tasks.conftest import samples, write_jsonl
from tests.grue.tasks.test_table_text import CELLS, ROLES

TABLE: dict[str, Any] = {
    "table": ROLES,
    "highlighted_cells": [[1, 1], [1, 2], [2, 3]],
    "table_page_title": "Jane Doe",
    "table_section_title": "Films",
    "table_section_text": "Some text",
    "sentence_annotations": {
        "original_sentence": ["o1", "o2"],
        "sentence_after_deletion": ["d1", "d2"],
        "sentence_after_ambiguity": ["a1", "a2"],
        "final_sentence": ["f1", "f2"],
    },
    "overlap_subset": "True",
    "example_id": "12",
}
NOTES = [
    {
        "original_sentence": f"o{n}",
        "sentence_after_deletion": f"d{n}",
        "sentence_after_ambiguity": f"a{n}",
        "final_sentence": f"f{n}",
    }
    for n in (1, 2)
]
TITLES = "<page_title> Jane Doe </page_title> <section_title> Films </section_title> "


def test_totto_prompt_references_and_table(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "validation.jsonl", [TABLE])
    (sample,) = samples("totto", "val", path=tmp_path)
    assert sample.id == "val_0"
    assert sample.prompt == CELLS + TITLES + CELLS
    assert sample.references == ("f1", "f2")
    assert sample.metadata == {
        "raw_table": {**TABLE, "sentence_annotations": NOTES, "overlap_subset": True}
    }


def test_totto_whole_table(tmp_path: Path) -> None:
    row = {**TABLE, "table": [ROLES[1][:2]], "highlighted_cells": [[0, 1]]}
    write_jsonl(tmp_path / "train.jsonl", [row])
    (sample,) = samples("totto", path=tmp_path, representation="fulltable")
    table = (
        "<table> <row> <cell> 2001 </cell> <highlighted_cell> Star <row_header> 2001 </row_header> "
        "</highlighted_cell> </row> </table>"
    )
    assert sample.prompt == table + TITLES + table


@pytest.mark.parametrize(
    ("given", "subset"), [("True", True), ("False", False), ("none", False), (True, True)]
)
def test_totto_in_the_official_form(tmp_path: Path, given: str | bool, subset: bool) -> None:
    row = {**TABLE, "sentence_annotations": NOTES, "overlap_subset": given}
    (sample,) = samples("totto", path=write_jsonl(tmp_path / "a.jsonl", [row]))
    assert sample.references == ("f1", "f2")
    assert sample.metadata["raw_table"]["sentence_annotations"] == NOTES
    assert sample.metadata["raw_table"]["overlap_subset"] is subset


@pytest.mark.parametrize("hidden", [{name: [] for name in NOTES[0]}, [], None])
def test_totto_without_sentences_has_no_reference(tmp_path: Path, hidden: Any) -> None:
    row = {**TABLE, "sentence_annotations": hidden}
    if hidden is None:
        del row["sentence_annotations"], row["overlap_subset"]
    write_jsonl(tmp_path / "test.jsonl", [row])
    (sample,) = samples("totto", "test", path=tmp_path)
    assert sample.references == ()
    assert sample.metadata["raw_table"]["sentence_annotations"] == []


@pytest.mark.parametrize("place", [[3, 0], [1, 4], [-1, 0]])
def test_totto_highlights_lie_in_the_table(tmp_path: Path, place: list[int]) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{**TABLE, "highlighted_cells": [place]}])
    with pytest.raises(UserError, match=r"line 1: the highlighted cell \[.*\] is not in the table"):
        samples("totto", path=file)
