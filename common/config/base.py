"""The base of all configuration models, and the messages of what does not fit them.

A configuration is a frozen pydantic model whose field docstrings are the reference of its keys.
Markers, written into a field's ``Annotated`` type, say what a key means for a run's identity;
`Published` adds a value by which published plans say "not given".
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
)
from pydantic_core import CoreSchema, core_schema

from common.config.misfits import models_in
from common.errors import Problem
from common.key_paths import Key, key_path


class Marker:
    """A note on a field, found again in ``FieldInfo.metadata``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


NO_EFFECT = Marker("NO_EFFECT")
"""The key cannot change results: where outputs go, logging, devices, names."""

LATER = Marker("LATER")
"""The key came after runs had been made without it: its default, which does as was done before, is
left out of a run's identity, so that those runs stay done."""

IGNORED = Marker("IGNORED")
"""The key is there for published files alone: where it is given, the user is told that it has no
effect."""

COUNTS_AS_DEFAULT = Marker("COUNTS_AS_DEFAULT")
"""The key cannot change results; in a run's identity it stands as if it were not given, so that
runs made before it was marked are known again."""


class FileMarker(Marker):
    """Marks keys that name files; such a path may begin with an environment variable."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_expanded, handler(source))


def _expanded(path: Any) -> Any:
    """``path``, or each of several, with the variable's value for a beginning ``$NAME``."""
    if isinstance(path, list | tuple):
        return [_expanded(item) for item in path]
    found = re.match(r"\$(\w+)", path) if isinstance(path, str) else None
    if not found:
        return path
    if found[1] not in os.environ:
        raise ValueError(
            f"the environment variable {found[1]} is not set; set it, or write the path out"
        )
    return os.environ[found[1]] + path[found.end() :]


INPUT_FILE = FileMarker("INPUT_FILE")
"""The key names a file or folder that feeds the result; its content counts, not its path. The path
may begin with an environment variable, as in ``"$DATA_DIR/imdb"``."""

INPUT_FILE_OR_ID = FileMarker("INPUT_FILE_OR_ID")
"""Like `INPUT_FILE` where such a file or folder exists; otherwise the value is an id, known
elsewhere, and counts itself."""


class Published:
    """Lets a key be written the published way too: ``written`` means ``meaning``.

    Stands in an ``Annotated`` type, where the program and the JSON Schema both read it.
    """

    def __init__(self, written: int | str, meaning: Any = None) -> None:
        self.written = written
        self.meaning = meaning

    def _read(self, value: Any) -> Any:
        return self.meaning if value == self.written else value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._read, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        own = handler(schema)
        return {"anyOf": [*own.get("anyOf", [own]), {"const": self.written}]}


SeedNumber = Annotated[int, Field(ge=0, lt=2**32)]
Seed = Annotated[SeedNumber | None, Published(-1)]
"""A seed; None (or -1) where none is given."""
Interval = Annotated[Annotated[int, Field(gt=0)] | None, Published(-1)]
"""Every how many steps or epochs; None (or -1) for never."""
OptionalText = Annotated[str | None, Published("")]
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

    def missing(self) -> Iterator[Problem]:
        """What the keys need, and of which this machine lacks the package or its data.

        Nested configurations are asked too.
        """
        for name in type(self).model_fields:
            for key, inner in _configs_at(getattr(self, name), (name,)):
                yield from (problem.below(key_path(key)) for problem in inner.missing())

    def unknown_in_parts(self) -> Iterator[Key]:
        """Yield the paths of keys of parts, found by name, that their models do not know."""
        for name in type(self).model_fields:
            for key, inner in _configs_at(getattr(self, name), (name,)):
                yield from ((*key, *rest) for rest in inner.unknown_in_parts())

    def notices(self) -> Iterator[str]:
        """What the user should know of the keys given, though nothing is wrong."""
        yield from ()

    @classmethod
    def key_names(cls) -> list[str]:
        """The keys as a plan writes them."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    @functools.cache
    def marked(cls, marker: Marker) -> frozenset[str]:
        """Names of the keys that carry ``marker``."""
        return frozenset(
            name for name, field in cls.model_fields.items() if marker in field.metadata
        )

    @classmethod
    @functools.cache
    def _may_hold(cls, marker: Marker) -> tuple[str, ...]:
        """Names of the keys that carry ``marker``, or in whose value one may that does."""
        return tuple(
            name
            for name, field in cls.model_fields.items()
            if marker in field.metadata or any(models_in(field.annotation))
        )

    def marked_values(self, marker: Marker) -> Iterator[tuple[Key, Any]]:
        """What is given for the keys that carry ``marker``, in nested configurations too.

        Lists and objects are taken apart, so that each value is a single one.
        """
        for name in self._may_hold(marker):
            if marker is IGNORED and name not in self.model_fields_set:
                continue
            yield from _leaves(getattr(self, name), (name,), marker, name in self.marked(marker))

    def identity(self) -> dict[str, Any]:
        """The keys that can change results, as plain values."""
        left_out = {*self.marked(NO_EFFECT), *self._later_as_before()}
        plain = self.model_dump(mode="json", exclude=left_out)
        fields = type(self).model_fields
        plain |= {name: fields[name].default for name in self.marked(COUNTS_AS_DEFAULT)}
        return {name: _identity(getattr(self, name), value) for name, value in plain.items()}

    def _later_as_before(self) -> Iterator[str]:
        """The keys that came later and have their defaults."""
        for name in self.marked(LATER):
            default = type(self).model_fields[name].get_default(call_default_factory=True)
            if getattr(self, name) == default:
                yield name

    def ignored(self) -> Iterator[str]:
        """The dotted keys that are given and have no effect, in nested configurations too."""
        for key, _ in self.marked_values(IGNORED):
            yield key_path(key)

    def inputs(self) -> Iterator[tuple[Key, str]]:
        """The given files and folders that feed the result, and references to such, by key."""
        for key, value in self.marked_values(INPUT_FILE):
            yield key, str(value)
        for key, value in self.marked_values(INPUT_FILE_OR_ID):
            if str(value).startswith("@") or Path(value).exists():
                yield key, str(value)

    def input_files(self) -> dict[str, Path]:
        """The given files and folders that feed the result, by key."""
        return {key_path(key): Path(value) for key, value in self.inputs()}


def _identity(value: Any, plain: Any) -> Any:
    """``plain``, the plain form of ``value``, without what cannot change results in it."""
    if isinstance(value, Config):
        return value.identity()
    if isinstance(value, list | tuple):
        return [_identity(*pair) for pair in zip(value, plain, strict=True)]
    return plain


def _configs_at(value: Any, key: Key) -> Iterator[tuple[Key, Config]]:
    """The configurations that a key's value is, or holds in a list, with their paths."""
    if isinstance(value, Config):
        yield key, value
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _configs_at(item, (*key, position))


def _leaves(value: Any, key: Key, marker: Marker, is_marked: bool) -> Iterator[tuple[Key, Any]]:
    """The single values that stand beneath a marked key, each with its path."""
    if isinstance(value, Config):
        yield from (((*key, *inner), leaf) for inner, leaf in value.marked_values(marker))
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _leaves(item, (*key, name), marker, is_marked)
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _leaves(item, (*key, position), marker, is_marked)
    elif is_marked and value is not None:
        yield key, value
