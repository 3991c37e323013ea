"""The base of all configuration models, and the messages of what does not fit them.

A configuration is a frozen pydantic model whose field docstrings are the reference of its keys.
Two markers, written into a field's ``Annotated`` type, say what a key means for a run's identity.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from common.errors import Problem
from common.registry import suggestion


class _Marker:
    """A note on a field, found again in ``FieldInfo.metadata``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


NO_EFFECT = _Marker("NO_EFFECT")
"""The key cannot change results: where outputs go, logging, devices, names."""

INPUT_FILE = _Marker("INPUT_FILE")
"""The key names a file or folder that feeds the result; its content counts, not its path."""


def _published_none(value: Any) -> Any:
    """None for the published ways to write "not given" (-1 and the empty string)."""
    return None if value == "" or (value == -1 and not isinstance(value, bool)) else value


Seed = Annotated[Annotated[int, Field(ge=0, lt=2**32)] | None, BeforeValidator(_published_none)]
"""A seed; None (or -1) where none is given."""
Interval = Annotated[Annotated[int, Field(gt=0)] | None, BeforeValidator(_published_none)]
"""Every how many steps or epochs; None (or -1) for never."""
OptionalText = Annotated[str | None, BeforeValidator(_published_none)]
"""Text; None (or the empty string) where none is given."""


class Config(BaseModel):
    """Base of all configuration models: frozen, strict about types, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        protected_namespaces=(),
    )

    seed_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that one entry of a plan's ``seeds`` moves together."""

    def problems(self) -> Iterator[Problem]:
        """What does not fit together, beyond what single fields can check."""
        yield from ()

    def notices(self) -> Iterator[str]:
        """What the user should know of the keys given, though nothing is wrong."""
        yield from ()

    @classmethod
    @functools.cache
    def marked(cls, marker: _Marker) -> frozenset[str]:
        """Names of the keys that carry ``marker``."""
        return frozenset(
            name for name, field in cls.model_fields.items() if marker in field.metadata
        )

    def identity(self) -> dict[str, Any]:
        """The keys that can change results, as plain values."""
        return self.model_dump(mode="json", exclude=set(self.marked(NO_EFFECT)))

    def input_files(self) -> dict[str, Path]:
        """The given files and folders that feed the result, by key."""
        values = {key: getattr(self, key) for key in sorted(self.marked(INPUT_FILE))}
        return {key: Path(value) for key, value in values.items() if value is not None}


ConfigT = TypeVar("ConfigT", bound=Config)


def resolve(
    model: type[ConfigT], values: Mapping[str, Any]
) -> tuple[ConfigT | None, list[Problem]]:
    """The configuration that ``values`` describe, or None with everything that is wrong."""
    try:
        config = model.model_validate(values)
    except ValidationError as error:
        known = list(model.model_fields)
        return None, [_as_problem(details, known) for details in error.errors()]
    problems = list(config.problems())
    return (None if problems else config), problems


def key_path(location: tuple[int | str, ...]) -> str:
    """A pydantic location in the form ``a.b[0]``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def _as_problem(details: ErrorDetails, known: list[str]) -> Problem:
    key = key_path(details["loc"])
    if details["type"] == "missing":
        return Problem("this key is required", key)
    if details["type"] == "extra_forbidden":
        return Problem(f"unknown key{suggestion(key, known)}", key, details["input"])
    return Problem(_explanation(details), key, details["input"])


def _explanation(details: ErrorDetails) -> str:
    """What is wrong with one value, and how to mend it."""
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "literal_error":
        known = str(context["expected"]).replace(" or ", ", ").replace("'", "")
        close = suggestion(value, known.split(", ")) if isinstance(value, str) else ""
        return f"unknown{close}; known: {known}"
    if kind in ("int_type", "float_type", "int_parsing", "float_parsing"):
        whole = "a whole number" if kind.startswith("int") else "a number"
        return f"expected {whole}" + ("; remove the quotes" if _is_number(value) else "")
    fixed = {
        "int_from_float": "expected a whole number",
        "bool_type": "expected true or false",
        "string_type": "expected text in quotes",
        "list_type": "expected a list in [ ]",
        "tuple_type": "expected a list in [ ]",
        "dict_type": "expected an object in { }",
        "finite_number": "expected a finite number",
        "string_pattern_mismatch": "may hold letters, digits, _ and - only",
        "too_short": "needs at least one entry",
    }
    return fixed.get(kind) or details["msg"].removeprefix("Value error, ").replace(
        "Input should", "must"
    )


def _is_number(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True
