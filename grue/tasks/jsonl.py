"""Rows of a user's table as samples: prompts with references."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from common.config.base import OptionalText
from common.errors import UserError
from common.files.surrogates import why_no_text
from grue.tasks.sources.held_out import LocalArgs
from grue.tasks.sources.local_files import at_path, path_error, read_rows, split_file
from grue.tasks.sources.raw_rows import RawRow, place_of
from grue.tasks.task import TASKS, Sample, Split, Task


class JsonlArgs(LocalArgs):
    """Keys of the task of a table's rows."""

    prompt_column: str = "prompt"
    """Column of the prompts."""
    references_column: OptionalText = "references"
    """Column of the references of each prompt, a text or a list of texts (in a CSV file, a text or
    a JSON list); None (or the empty string) for none."""


@TASKS.register("jsonl")
class Jsonl(Task[JsonlArgs]):
    """Rows of a JSONL, JSON, CSV or parquet file; further columns become metadata."""

    Args = JsonlArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return one sample for each row."""
        rows = self._rows(split)
        return [Sample(f"{split}_{i}", *parts) for i, parts in enumerate(rows)]

    def _rows(self, split: Split) -> Sequence[tuple[str, tuple[str, ...], RawRow]]:
        """Return prompt, references and metadata of the split's rows."""
        single = self.args.is_single_file()
        file = split_file(self.args.path, "train" if single else split)
        rows = read_rows(file)
        if not rows:
            raise path_error(file, "there are no rows; at least one is needed")
        parse = _from_cell if file.suffix.lower() == ".csv" else _from_value
        parts = [
            self._parts(row, parse, f"{at_path(file)}, {place_of(row, number)}")
            for number, row in enumerate(rows, start=1)
        ]
        return self.args.part(parts, split) if single else parts

    def _parts(
        self, row: RawRow, parse: Callable[[Any], Any], where: str
    ) -> tuple[str, tuple[str, ...], RawRow]:
        keys = [self.args.prompt_column, self.args.references_column]
        needed = [name for name in keys if name is not None]
        if any(name not in row for name in needed):
            raise UserError(
                f"{where}: needs the columns {', '.join(needed)}; found {', '.join(row) or 'none'};"
                " set 'datapool.args.prompt_column' and 'datapool.args.references_column'"
            )
        prompt, *given = (row[name] for name in needed)
        if not isinstance(prompt, str):
            raise UserError(f"{where}, '{needed[0]}': expected text, found {prompt!r}")
        references = parse(given[0]) if given else []
        if not _is_texts(references):
            raise UserError(
                f"{where}, '{needed[1]}': expected a text or a list of texts, found {given[0]!r}"
            )
        broken = why_no_text(references)
        if broken:
            raise UserError(f"{where}, '{needed[1]}': {broken}")
        rest = {name: value for name, value in row.items() if name not in needed}
        return prompt, tuple(references), rest


def _from_value(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _from_cell(text: str) -> list[str]:
    """Return the JSON list of texts in a cell, or the whole cell as one text."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return [text]
    return value if _is_texts(value) else [text]


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
