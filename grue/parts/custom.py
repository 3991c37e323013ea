"""Configurations of users' own algorithms and policies, made from the `Args` of their classes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    create_model,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from common.config.base import Config
from common.custom.user_code import CUSTOM
from common.errors import UserError

ConfigT = TypeVar("ConfigT", bound=Config)
Find = Callable[[str], Any]
"""Function that returns the class ``"custom:package.module:name"``, or raises `UserError`."""


@dataclass(frozen=True)
class OrCustom:
    """Let a union of configurations accept one whose ``id`` names a user's class too.

    Its configuration is ``base`` with the class's ``Args`` as ``args``.
    """

    base: type[Config]
    find: Find

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        known = handler(source)
        return core_schema.no_info_wrap_validator_function(self._validate, known)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        name = {"type": "string", "pattern": f"^{CUSTOM}"}
        custom = {"type": "object", "properties": {"id": name}, "required": ["id"]}
        return {"anyOf": [handler(schema), custom]}

    def chosen(self, value: Any) -> type[Config] | None:
        """Return the configuration model of a user's class, if ``value`` names one."""
        name = _custom_name(value)
        try:
            return None if name is None else _keys(self.base, name, self.find)
        except UserError:
            return None

    def _validate(self, value: Any, known: Callable[[Any], Any]) -> Any:
        name = _custom_name(value)
        if name is None:
            return known(value)
        if isinstance(value, self.base):
            return value
        try:
            keys = _keys(self.base, name, self.find)
        except UserError as error:
            raise at_id(name, error) from error
        return keys.model_validate(value)


def _custom_name(value: Any) -> str | None:
    """Return the ``id`` of a user's part; None if ``value`` names none."""
    name = value.get("id") if isinstance(value, Mapping) else getattr(value, "id", None)
    return name if isinstance(name, str) and name.startswith(CUSTOM) else None


@functools.cache
def _keys(base: type[Config], name: str, find: Find) -> type[Config]:
    """Return ``base`` with the keys of the class called ``name``."""
    return with_args(base, base.__name__, name, find(name).Args)


def with_args(base: type[ConfigT], title: str, name: str, args: type[Config]) -> type[ConfigT]:
    """Return ``base``, under the title, with the name and the settings of one part."""
    is_needed = any(field.is_required() for field in args.model_fields.values())
    settings = ... if is_needed else Field(default_factory=args)
    fields: dict[str, Any] = {"id": (Literal[name], ...), "args": (args, settings)}
    return derived_model(base, title, args.__doc__, **fields)


def derived_model(
    base: type[ConfigT], title: str, meaning: str | None, **fields: Any
) -> type[ConfigT]:
    """Return ``base`` under another title and meaning, with some fields replaced."""
    return create_model(title, __base__=base, __doc__=meaning, **fields)


def at_id(name: str, error: UserError) -> ValidationError:
    """Return the reason that keeps ``name`` from being a part, as an error of its key ``id``."""
    told = PydanticCustomError("custom_part", "{reason}", {"reason": str(error)})
    return ValidationError.from_exception_data(
        name, [InitErrorDetails(type=told, loc=("id",), input=name)]
    )
