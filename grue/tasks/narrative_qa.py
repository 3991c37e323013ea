r"""NarrativeQA: questions about a summary of a story (Kočiský et al., 2018).

The published prompts are UnifiedQA's: the question, a blank, a backslash and the letter n, a blank,
the summary, all in lower case. UnifiedQA distributes them in two columns, prompt and answer, with a
line for each answer. The original data set has questions, summaries and answers in separate
columns; prompts of the same form are made from it. Each run of white space becomes one blank.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from common.errors import Problem
from grue.tasks.sources.hub_rows import Hub
from grue.tasks.sources.local_files import (
    TABLES,
    at_path,
    path_error,
    read_rows,
    read_text,
    split_file,
)
from grue.tasks.sources.raw_rows import PlacedRow, RawRow
from grue.tasks.sources.rows import Nested, Row, checked_rows
from grue.tasks.task import TASKS, HubTaskArgs, Sample, Split, Task

_UNIFIED_QA = "https://storage.googleapis.com/unifiedqa/data/narrativeqa"
_FILES = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
_COLUMNS = ("prompt", "answer")
_NO_QUOTES = 3  # csv.QUOTE_NONE

_HUBS = {
    "unifiedqa": Hub(
        "csv",
        {
            "data_files": {split: f"{_UNIFIED_QA}/{name}" for split, name in _FILES.items()},
            "delimiter": "\t",
            "names": list(_COLUMNS),
            "quoting": _NO_QUOTES,
            "keep_default_na": False,
        },
    ),
    "deepmind/narrativeqa": Hub("deepmind/narrativeqa"),
}


class NarrativeQaArgs(HubTaskArgs):
    """Keys of the NarrativeQA task."""

    source: Literal["unifiedqa", "deepmind/narrativeqa"] = "unifiedqa"
    """Source of the data without a local path: UnifiedQA's files, as published, or the original
    data set of the hub, whose download includes the full stories."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a revision of files that are not on the hub."""
        yield from super().problems()
        if self.revision is not None and self.source == "unifiedqa":
            yield Problem("is of a data set of the hub; set 'source' to 'deepmind/narrativeqa', or "
                          "take it out", "revision", self.revision)  # fmt: skip


class _Text(BaseModel):
    model_config = ConfigDict(strict=True)
    text: str


class _Document(BaseModel):
    model_config = ConfigDict(strict=True)
    summary: _Text


class _Question(Row):
    """A row of the original data set."""

    document: Nested[_Document]
    question: Nested[_Text]
    answers: Annotated[Nested[list[_Text]], Field(min_length=1)]


class _Line(Row):
    """A row of UnifiedQA's files."""

    prompt: str
    answer: str


@TASKS.register("narrative_qa")
class NarrativeQa(Task[NarrativeQaArgs]):
    """Questions about stories: columns ``document``, ``question``, ``answers``, or two columns.

    Local files may also be UnifiedQA's ``.tsv`` files, without names of columns.
    """

    Args = NarrativeQaArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return one sample for each prompt, in order of first occurrence, with all its answers."""
        answers: dict[str, list[str]] = {}
        for prompt, answer in self._lines(split):
            answers.setdefault(prompt, []).append(answer.lower().strip())
        return [
            Sample(f"{split}_{i}", prompt.lower(), tuple(answers[prompt]))
            for i, prompt in enumerate(answers)
        ]

    def _lines(self, split: Split) -> Iterable[tuple[str, str]]:
        rows, where = self._rows(split)
        if rows and "prompt" in rows[0]:
            return [(line.prompt, line.answer) for line in checked_rows(_Line, rows, where)]
        return _as_lines(checked_rows(_Question, rows, where))

    def _rows(self, split: Split) -> tuple[list[RawRow], str]:
        """Return the rows, and the beginning of messages about them."""
        if self.args.path is not None:
            file = split_file(self.args.path, split, (".tsv", *TABLES))
            return _tsv(file) if file.suffix == ".tsv" else read_rows(file), at_path(file)
        hub = _HUBS[self.args.source].at(self.args.revision)
        dataset = hub.load(split)
        where = f"the split '{split}' of {hub}"
        if self.args.source == "unifiedqa":
            return dataset.to_list(), where
        return _without_stories(dataset), where


def _as_lines(rows: list[_Question]) -> Iterator[tuple[str, str]]:
    for row in rows:
        question, summary = (
            " ".join(text.split()) for text in (row.question.text, row.document.summary.text)
        )
        for answer in row.answers:
            yield rf"{question} \n {summary}", answer.text


def _tsv(file: Path) -> list[RawRow]:
    rows: list[RawRow] = []
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != len(_COLUMNS):
            raise path_error(file, f"line {number}: expected a prompt, a tab and an answer; found "
                             f"{len(cells)} columns")  # fmt: skip
        rows.append(PlacedRow(zip(_COLUMNS, cells, strict=True), f"line {number}"))
    return rows


def _without_stories(dataset: Any) -> list[RawRow]:
    """Return the rows without the full stories, which would fill the memory."""
    summary, question = "document.summary.text", "question.text"
    slim = dataset.flatten().select_columns([summary, question, "answers"])
    return [
        {
            "document": {"summary": {"text": row[summary]}},
            "question": {"text": row[question]},
            "answers": row["answers"],
        }
        for row in slim.to_list()
    ]
