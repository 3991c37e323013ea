"""Rows of a data set, checked against the columns that a task needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, TypeAdapter, ValidationError

from common.errors import UserError
from common.files.surrogates import why_no_text
from grue.tasks.sources.hub_rows import Hub
from grue.tasks.sources.local_files import at_path, read_rows, split_file
from grue.tasks.sources.raw_rows import RawRow, place_of
from grue.tasks.task import Split


class Row(BaseModel):
    """Base of the rows: the columns that a task needs; further ones are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


def _parsed(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value)
    except json.JSONDecodeError as error:
        message = f"not valid JSON at character {error.pos + 1}: {error.msg}"
        raise ValueError(message) from error
    broken = why_no_text(found)
    if broken:
        raise ValueError(broken)
    return found


T = TypeVar("T")
RowT = TypeVar("RowT", bound=Row)
Nested = Annotated[T, BeforeValidator(_parsed)]
"""A list or object; in a CSV file, its JSON text."""
Number = Annotated[int, Strict(False)]
"""A whole number; in a CSV file, its digits."""


def load_rows(schema: type[RowT], path: str | None, split: Split, hub: Hub) -> list[RowT]:
    """Return the rows of a split from local files, or from the hub if ``path`` is None.

    Raises:
        UserError: the data cannot be loaded, have no rows, lack columns or hold a wrong value.
    """
    if path is not None:
        file = split_file(path, split)
        return checked_rows(schema, read_rows(file), at_path(file))
    rows = hub.load(split).to_list()
    return checked_rows(schema, rows, f"the split '{split}' of {hub}")


def checked_rows(schema: type[RowT], rows: Sequence[RawRow], where: str) -> list[RowT]:
    """Return the rows in the form of ``schema``; ``where`` is the beginning of error messages.

    Raises:
        UserError: there are no rows, columns are missing, or a value is wrong.
    """
    if not rows:
        raise UserError(f"{where}: there are no rows; at least one is needed")
    needed = [name for name, field in schema.model_fields.items() if field.is_required()]
    if any(name not in rows[0] for name in needed):
        raise UserError(
            f"{where}: needs the columns {', '.join(needed)}; found {', '.join(rows[0]) or 'none'}"
        )
    try:
        return TypeAdapter(list[schema]).validate_python(rows)  # type: ignore[valid-type]  # known when it runs
    except ValidationError as error:
        first = error.errors()[0]
        number, *key = first["loc"]
        place = place_of(rows[int(number)], int(number) + 1) + (
            f", '{'.'.join(map(str, key))}'" if key else ""
        )
        message = first["msg"].removeprefix("Value error, ").replace("Input should", "must")
        raise UserError(f"{where}, {place}: {message}") from error
