from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import Field

from common.errors import UserError
from grue.tasks.sources.local_files import has_split, read_rows, split_file
from grue.tasks.sources.raw_rows import place_of
from grue.tasks.sources.rows import Nested, Number, Row, checked_rows
from grue.tasks.task import Split
from tests.grue.tasks.conftest import write_jsonl

ROWS = [{"text": 'one, "two"\nthree', "label": 1}, {"text": "vier \u2028 fünf", "label": 0}]


@pytest.mark.parametrize(
    ("split", "stem"),
    [("train", "train"), ("val", "validation"), ("val", "val"), ("val", "dev"), ("test", "test")],
)
@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_a_folder_has_a_file_for_each_split(
    tmp_path: Path, split: Split, stem: str, suffix: str
) -> None:
    (tmp_path / f"{stem}{suffix}").touch()
    (tmp_path / f"other{suffix}").touch()
    assert split_file(str(tmp_path), split) == tmp_path / f"{stem}{suffix}"
    assert has_split(str(tmp_path), split)


def test_a_file_is_the_training_split(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "any.jsonl", ROWS)
    assert split_file(str(file), "train") == file
    assert has_split(str(file), "train") and not has_split(str(file), "val")
    with pytest.raises(UserError, match=r"any.jsonl': one file is the training split; for the "
                       r"split 'val' name a folder with validation or val or dev"):  # fmt: skip
        split_file(str(file), "val")


def test_missing_ambiguous_and_unknown_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'datapool.args.path' = '.*/none': there is no such"):
        split_file(str(tmp_path / "none"), "train")
    with pytest.raises(UserError, match=r"no file for the split 'test': expected test with "
                       r"\.jsonl, \.json, \.csv, \.parquet; found nothing"):  # fmt: skip
        split_file(str(tmp_path), "test")
    (tmp_path / "dev.csv").touch()
    with pytest.raises(UserError, match=r"split 'train': expected train with .*; found dev.csv"):
        split_file(str(tmp_path), "train")
    (tmp_path / "val.json").touch()
    with pytest.raises(UserError, match=r"both val.json and dev.csv hold the split 'val'"):
        split_file(str(tmp_path), "val")
    (tmp_path / "rows.xls").touch()
    with pytest.raises(UserError, match=r"rows.xls': unknown kind of file; known: .jsonl, "):
        split_file(str(tmp_path / "rows.xls"), "train")


def test_all_kinds_of_files_give_the_same_rows(tmp_path: Path) -> None:
    import csv

    import pyarrow
    import pyarrow.parquet

    lines = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8-sig")
    (tmp_path / "lines.json").write_text(lines, encoding="utf-8")
    (tmp_path / "list.json").write_text(json.dumps(ROWS, indent=1))
    (tmp_path / "object.json").write_text(json.dumps(ROWS[0], indent=1))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label"])
        writer.writeheader()
        writer.writerows(ROWS)

    for name in ("a.jsonl", "lines.json", "list.json", "a.parquet"):
        assert read_rows(tmp_path / name) == ROWS, name
    assert read_rows(tmp_path / "object.json") == ROWS[:1]
    for number, text in enumerate(("[]", " [ ] \n", "", "\n", "[" + " " * 2000 + "]")):
        (tmp_path / f"empty{number}.json").write_text(text)
        assert read_rows(tmp_path / f"empty{number}.json") == []
    (tmp_path / "lines.txt").write_text(" one\n\ntwo \n", encoding="utf-8-sig")
    assert read_rows(tmp_path / "lines.txt") == [{"text": "one"}, {"text": "two"}]
    assert read_rows(tmp_path / "a.csv") == [{**row, "label": str(row["label"])} for row in ROWS]


def test_a_cell_of_a_csv_file_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\n" + "x" * 200_000)
    assert len(read_rows(tmp_path / "a.csv")[0]["text"]) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            b'{"a": 1}\n{"a": ',
            "cannot be read: line 2, column 7: not valid JSON: Expecting value",
        ),
        ("a.jsonl", b'{"a": 1}\n{"a": 1,\n', "line 2, column 9: not valid JSON: "),
        ("a.jsonl", b'{"a": 1}\n\n[1]', "line 3: expected an object in { }"),
        ("a.json", b"[1]", "entry 1: expected an object in { }"),
        ("a.json", b'[{"a": [1, 2]}, 3]', "entry 2: expected an object in { }"),
        ("a.json", b'[{"a": 1} {"a": 2}]', "line 1, column 11: not valid JSON: Expecting ']'"),
        ("a.json", b'[{"a": 1},', "line 1, column 11: not valid JSON: Expecting value"),
        ("a.json", b'[{"a": 1}, ]', "line 1, column 12: not valid JSON: Expecting value"),
        ("a.json", b'[{"a": 1}] 2', "line 1, column 11: not valid JSON: Extra data"),
        ("a.json", b'{\n"a": \n', "line 3, column 1: not valid JSON: Expecting value"),
        ("a.txt", b"a\ncaf\xe9", "line 2 is not UTF-8 (byte 0xe9); save the file as UTF-8"),
        ("a.csv", "a\nb".encode("utf-16"), "line 1 is not UTF-8 (byte 0xff)"),
        ("a.json", b"nothing", "line 1, column 1: not valid JSON: Expecting value"),
        ("a.csv", b"a,b\n1,2\n1", "line 3: expected 2 cells as in the header, found 1"),
        ("a.jsonl", b'{"a": "\xff"}', "line 1 is not UTF-8 (byte 0xff)"),
        ("a.csv", b"a,b\n1,2\n\n1", "line 4: expected 2 cells as in the header, found 1"),
        ("a.csv", b"a,b,a\n1,2,3", "the header: 'a' is repeated; keep one of them"),
        ("a.jsonl", b'{}\n\n{"a": 1, "a": 2}', "line 3: 'a' is repeated; keep one of them"),
        ("a.json", b'[{}, {"b": {"a": 1, "a": 2}}]', "entry 2: 'a' is repeated"),
        ("a.jsonl", rb'{"a": ["x", "\ud800"]}', "line 1: 'a[1]' holds half of a character"),
        ("a.json", rb'[{"\udfff": 1}]', "entry 1: '\\udfff' holds half of a character"),
        ("a.jsonl", b"[" * 100_000, "nested too deeply"),
        ("a.parquet", b"no table", "cannot be read: "),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as raised:
        read_rows(tmp_path / name)
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"'datapool.args.path' = '{tmp_path / name}': ")


def test_blank_lines_are_no_rows_and_count_in_the_places_of_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('a,b\n\n1,"2\n3"\n\n4,5\n\n')
    (tmp_path / "a.jsonl").write_text('\n{"a": 1}\n\n{"a": 2}\n\n')
    (tmp_path / "a.txt").write_text("\n\nx\n")
    places = {"a.csv": ["line 3", "line 6"], "a.jsonl": ["line 2", "line 4"], "a.txt": ["line 3"]}
    for name, expected in places.items():
        assert [place_of(row, 0) for row in read_rows(tmp_path / name)] == expected
    assert read_rows(tmp_path / "a.csv") == [{"a": "1", "b": "2\n3"}, {"a": "4", "b": "5"}]


def test_columns_of_a_parquet_file_have_names_of_their_own(tmp_path: Path) -> None:
    table = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(UserError, match="the columns: 'a' is repeated; keep one of them"):
        read_rows(tmp_path / "a.parquet")


class _Row(Row):
    text: str
    label: Number
    words: Nested[list[str]] = Field(default_factory=list)


def test_rows_are_checked() -> None:
    (row,) = checked_rows(_Row, [{"text": "a", "label": "1", "words": '["b"]', "more": 2}], "here")
    assert (row.text, row.label, row.words) == ("a", 1, ["b"])
    with pytest.raises(UserError, match=r"^here: there are no rows; at least one is needed$"):
        checked_rows(_Row, [], "here")
    with pytest.raises(UserError, match=r"^here: needs the columns text, label; found text, y$"):
        checked_rows(_Row, [{"text": "a", "y": 1}], "here")
    good = {"text": "a", "label": 1}
    for bad, message in [
        ({"text": None, "label": 1}, "here, row 2, 'text': must be a valid string"),
        ({"text": "a"}, "here, row 2, 'label': Field required"),
        ({**good, "words": ["a", 1]}, "here, row 2, 'words.1': must be a valid string"),
        ({**good, "words": r'["\ud800"]'}, r"here, row 2, 'words': '\[0\]' holds half of a char"),
        ({**good, "words": "[1"}, "here, row 2, 'words': not valid JSON at character 3: Expecting"),
    ]:
        with pytest.raises(UserError, match=message):
            checked_rows(_Row, [good, bad], "here")
