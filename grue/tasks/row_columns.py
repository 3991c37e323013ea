"""Rows as samples: columns of prompts and references, and all others as metadata."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from common.config.base import OptionalText
from common.errors import UserError
from common.files.surrogates import why_no_text
from grue.tasks.chat import ChatArgs
from grue.tasks.sources.raw_rows import RawRow
from grue.tasks.task import Message, Sample

_ABSENT: Any = object()
"""Value of a column that a row has not."""
Parse = Callable[[Any], Any]
"""Function that returns the references in a cell: a list of texts, if the cell is right."""


class RowColumns(ChatArgs):
    """Keys of rows with a column of prompts and, if there are any, one of references."""

    prompt_column: str = "prompt"
    """Column of the prompts: texts, or with ``chat_template`` also lists of messages with ``role``
    and ``content`` (in a CSV file, as JSON). A point leads into a column of objects, as in
    ``reward_model.ground_truth`` of verl's files."""
    references_column: OptionalText = "references"
    """Column of the references of each prompt, a text or a list of texts (in a CSV file, a text or
    a JSON list); None (or the empty string) for none."""

    def sample(self, row: RawRow, where: str, parse: Parse) -> Sample:
        """Return the sample of a row, without an id; ``where`` is the beginning of messages.

        Raises:
            UserError: a column is missing, or holds another kind of value.
        """
        keys = [self.prompt_column, self.references_column]
        needed = [name for name in keys if name is not None]
        cells = [_cell(row, name) for name in needed]
        if any(cell is _ABSENT for cell in cells):
            raise UserError(
                f"{where}: needs the columns {', '.join(needed)}; found {', '.join(row) or 'none'};"
                " set 'datapool.args.prompt_column' and 'datapool.args.references_column'"
            )
        prompt, *given = cells
        messages = _messages(prompt) if self.chat_template else None
        if messages is not None:
            prompt = messages[-1]["content"]
        if not isinstance(prompt, str):
            raise UserError(
                f"{where}, '{needed[0]}': expected {self._expected(prompt)}, found {prompt!r}"
            )
        references = parse(given[0]) if given else []
        if not _is_texts(references):
            raise UserError(
                f"{where}, '{needed[1]}': expected a text or a list of texts, found {given[0]!r}"
            )
        broken = why_no_text(references)
        if broken:
            raise UserError(f"{where}, '{needed[1]}': {broken}")
        rest = {name: value for name, value in row.items() if name not in needed}
        return Sample("", prompt, tuple(references), rest, messages=messages)

    def _expected(self, found: Any) -> str:
        if self.chat_template:
            return "text, or a list of messages with 'role' and 'content'"
        is_chat = _messages(found) is not None
        return "text (messages need 'datapool.args.chat_template' = true)" if is_chat else "text"


def _cell(row: RawRow, name: str) -> Any:
    """Return the value of a column, or what a point leads to in it; `_ABSENT` if there is none."""
    if name in row:
        return row[name]
    column, *path = name.split(".")
    value: Any = row.get(column, _ABSENT)
    for key in path:
        value = value.get(key, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value


def _messages(value: Any) -> list[Message] | None:
    """Return the chat messages that a value is, or whose JSON text it is; None for another."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return None
    return value if isinstance(value, list) and value and all(map(_is_message, value)) else None


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), str) for key in ("role", "content")
    )


def from_value(value: Any) -> Any:
    """Return the references of a value: a text alone counts as the only one."""
    return [value] if isinstance(value, str) else value


def from_cell(text: str) -> list[str]:
    """Return the JSON list of texts in a cell, or the whole cell as one text."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return [text]
    return value if _is_texts(value) else [text]


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
