"""Lists of a plan whose entries must differ, such as seeds and GPUs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema, to_jsonable_python


class Distinct:
    """A note on a list whose entries differ: one given twice is a typing mistake.

    It is part of an ``Annotated`` type, where the program and the JSON Schema both read it.
    """

    def __init__(self, advice: str = "") -> None:
        """Set what the message says beside dropping the repetition, from its semicolon on."""
        self.advice = advice

    def _check(self, entries: Any) -> Any:
        twice = _first_repeated(entries)
        if twice is not None:
            raise ValueError(f"names {twice} twice; drop the repetition{self.advice}")
        return entries

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "uniqueItems": True}


def _first_repeated(entries: Iterable[Any]) -> str | None:
    """Return the first entry that is equal to an earlier one, as in JSON; None where all differ."""
    seen: set[str] = set()
    for entry in entries:
        text = json.dumps(to_jsonable_python(entry), sort_keys=True, ensure_ascii=False)
        if text in seen:
            return text
        seen.add(text)
    return None
