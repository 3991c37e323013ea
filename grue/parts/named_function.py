"""Keys that name a function of a table, or a user's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

from common.custom.user_code import CUSTOM
from common.errors import UserError
from grue.rl.tables import FunctionTable


@dataclass(frozen=True)
class NamedIn:
    """Let a key hold the name of a function in ``table``, or ``"custom:package.module:name"``."""

    table: FunctionTable

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        known = core_schema.literal_schema(list(self.table))
        return core_schema.no_info_wrap_validator_function(self._validate, known)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"type": "string", "pattern": f"^{CUSTOM}"}]}

    def _validate(self, value: Any, known: Callable[[Any], Any]) -> Any:
        if not (isinstance(value, str) and value.startswith(CUSTOM)):
            return known(value)
        try:
            self.table[value]
        except UserError as error:
            told = {"reason": str(error)}
            raise PydanticCustomError("custom_part", "{reason}", told) from error
        return value
