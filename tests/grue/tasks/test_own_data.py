"""The tasks for data of one's own: plain text and tables of any columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from grue.tasks.task import Split
from tests.grue.tasks.conftest import parts, samples, write_jsonl

STORY = "\nOne two\n  three.\n\nFour five six.\n \nSeven\n"


@pytest.mark.parametrize(
    ("args", "pieces"),
    [
        ({"size": 3}, ["One two\n  three.", "Four five six.", "Seven"]),
        ({"size": 5}, ["One two\n  three.\n\nFour five", "six.\n \nSeven"]),
        ({}, [STORY.strip()]),
        ({"unit": "lines", "size": 1}, ["One two", "three.", "Four five six.", "Seven"]),
        ({"unit": "lines", "size": 2}, ["One two\n  three.", "Four five six.\n \nSeven"]),
        ({"unit": "paragraphs", "size": 1}, ["One two\n  three.", "Four five six.", "Seven"]),
        ({"unit": "paragraphs", "size": 2}, ["One two\n  three.\n\nFour five six.", "Seven"]),
    ],
)
def test_text_is_cut_into_pieces(tmp_path: Path, args: dict[str, Any], pieces: list[str]) -> None:
    file = tmp_path / "story"
    file.write_text(STORY)
    assert parts(samples("text", path=file, **args)) == [
        (f"train_{i}", "", (piece,)) for i, piece in enumerate(pieces)
    ]


def test_text_folders_have_a_file_for_each_split(tmp_path: Path) -> None:
    for stem in ("train", "validation", "test"):
        (tmp_path / f"{stem}.txt").write_text(f"the {stem}")
    assert [
        samples("text", split, path=tmp_path)[0].references
        for split in ("train", "val", "test")
    ] == [("the train",), ("the validation",), ("the test",)]  # fmt: skip
    (tmp_path / "test.txt").write_text(" \n")
    with pytest.raises(UserError, match=r"test.txt': the file has no text"):
        samples("text", "test", path=tmp_path)
    (tmp_path / "test.txt").write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"test.txt': the file cannot be read: line 1 is not UTF-8"):
        samples("text", "test", path=tmp_path)
    (tmp_path / "test.txt").unlink()
    with pytest.raises(UserError, match=r"no file for the split 'test': expected test with .txt;"):
        samples("text", "test", path=tmp_path)


@pytest.mark.parametrize("name", ["text", "jsonl"])
@pytest.mark.parametrize(
    ("held_out", "sizes"), [(0.0, (10, 0, 0)), (0.1, (8, 1, 1)), (0.3, (4, 3, 3))]
)
def test_the_end_of_a_single_file_is_held_out(
    tmp_path: Path, name: str, held_out: float, sizes: tuple[int, int, int]
) -> None:
    file, args = tmp_path / f"a.{name}", {"size": 1} if name == "text" else {}
    if name == "text":
        file.write_text(" ".join(map(str, range(10))))
    else:
        write_jsonl(file, [{"prompt": "", "references": str(n)} for n in range(10)])
    start = 0
    splits: tuple[Split, ...] = ("train", "val", "test")
    for split, size in zip(splits, sizes, strict=True):
        args = {**args, "path": file, "held_out": held_out}
        if size:
            found = samples(name, split, **args)
            assert [int(s.references[0]) for s in found] == list(range(start, start + size))
            assert found[0].id == f"{split}_0"
        else:
            advice = r"set 'datapool.args.held_out' above 0, for example 0.1 \(now 0\)"
            message = f"10 samples leave none for the split '{split}'; {advice}"
            with pytest.raises(UserError, match=message):
                samples(name, split, **args)
        start += size


ROWS: list[dict[str, Any]] = [
    {"prompt": "2 + 2 =", "references": ["4", "four"], "level": 1},
    {"prompt": "1 + 2 =", "references": "3", "level": 0},
    {"prompt": "0 / 0 =", "references": [], "level": 2},
]


@pytest.mark.parametrize(("split", "stem"), [("train", "train"), ("val", "val"), ("test", "test")])
def test_tables_of_any_columns(tmp_path: Path, split: Split, stem: str) -> None:
    write_jsonl(tmp_path / f"{stem}.jsonl", ROWS)
    found = samples("jsonl", split, path=tmp_path)
    assert parts(found) == [
        (f"{split}_0", "2 + 2 =", ("4", "four")),
        (f"{split}_1", "1 + 2 =", ("3",)),
        (f"{split}_2", "0 / 0 =", ()),
    ]
    assert [sample.metadata for sample in found] == [{"level": 1}, {"level": 0}, {"level": 2}]


def test_names_of_columns_are_free(tmp_path: Path) -> None:
    rows = [{"question": "q", "prompt": "p", "answer": "a"}]
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    args = {"path": file, "prompt_column": "question"}
    (sample,) = samples("jsonl", **args, references_column="answer")
    assert parts([sample]) == [("train_0", "q", ("a",))]
    assert sample.metadata == {"prompt": "p"}
    for none in (None, ""):
        (sample,) = samples("jsonl", **args, references_column=none)
        assert (sample.references, dict(sample.metadata)) == ((), {"prompt": "p", "answer": "a"})


def test_halves_of_characters_in_a_cell_are_no_text(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text('prompt,references\n\np,"[""\\ud800""]"\n')
    with pytest.raises(UserError, match=r"line 3, 'references': '\[0\]' holds half of a character"):
        samples("jsonl", path=file)


def test_csv_cells_may_hold_a_list_of_references(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    cells = ['"[""a"", ""b""]"', "[1] a note", "7", '"a, b"', "[7]"]
    file.write_text("prompt,references\n" + "".join(f"p,{cell}\n" for cell in cells))
    assert [sample.references for sample in samples("jsonl", path=file)] == [
        ("a", "b"), ("[1] a note",), ("7",), ("a, b",), ("[7]",)
    ]  # fmt: skip


def test_text_in_json_is_no_list(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"prompt": "p", "references": json.dumps(["a"])}])
    assert samples("jsonl", path=file)[0].references == ('["a"]',)


def test_parquet_tables(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{**row, "references": list(row["references"])} for row in ROWS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "test.parquet")
    found = samples("jsonl", "test", path=tmp_path)
    assert [sample.references for sample in found] == [("4", "four"), ("3",), ()]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p", "answer": "a"}, "line 4: needs the columns prompt, references; found "
         "prompt, answer; set 'datapool.args.prompt_column' and"),
        ({"prompt": 1, "references": "a"}, "line 4, 'prompt': expected text, found 1"),
        ({"prompt": "p", "references": ["a", 2]}, "line 4, 'references': expected a text or a "),
        ({"prompt": "p", "references": None}, "line 4, 'references': expected a text or a list of "
         "texts, found None"),
    ],
)  # fmt: skip
def test_rows_that_do_not_fit(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [*ROWS, row])
    with pytest.raises(UserError) as raised:
        samples("jsonl", path=file)
    assert f"'datapool.args.path' = '{file}', {message}" in str(raised.value)


def test_tables_have_rows(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [])
    with pytest.raises(UserError, match=r"a.jsonl': there are no rows"):
        samples("jsonl", path=file)
