"""Base of all configuration models, and the markers of their keys.

A configuration is a frozen pydantic model whose field docstrings are the reference of its keys.
Markers in a field's ``Annotated`` type define a key's role in a run's identity. `Published` adds a
value that means "not given" in published plans.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping
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

from common.config.validation_messages import models_in
from common.errors import Problem
from common.files.paths import is_there
from common.key_paths import Key, key_path


class Marker:
    """A note on a field, found again in ``FieldInfo.metadata``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


NO_EFFECT = Marker("NO_EFFECT")
"""Marker of a key that cannot change results: output places, logging, devices, names."""

LATER = Marker("LATER")
"""Marker of a key that was added after runs had been made without it. Its default reproduces the
earlier behaviour and is left out of a run's identity, so that those runs stay done."""

IGNORED = Marker("IGNORED")
"""Marker of a key that exists for published files alone; a notice says that it has no effect."""

COUNTS_AS_DEFAULT = Marker("COUNTS_AS_DEFAULT")
"""Marker of a key that cannot change results. A run's identity has its default, so that runs made
before the key was marked are recognised."""


class FileMarker(Marker):
    """Marker of keys that name files; such a path may begin with an environment variable."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_before_validator_function(_expanded, handler(source))


def _expanded(path: Any) -> Any:
    """Return ``path``, or each of several, with a leading ``$NAME`` replaced by its value."""
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
"""Marker of a key that names a file or folder with input of the run; its content counts, not its
path. The path may begin with an environment variable, as in ``"$DATA_DIR/imdb"``."""

INPUT_FILE_OR_ID = FileMarker("INPUT_FILE_OR_ID")
"""Marker as `INPUT_FILE`, if such a file or folder exists; otherwise the value is an id, such as a
hub id, and counts itself."""


class Published:
    """Second notation of a key's value in published plans: ``written`` means ``meaning``.

    It is part of an ``Annotated`` type, where the program and the JSON Schema both read it.
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
"""A seed; None (or -1) if none is given."""
Interval = Annotated[Annotated[int, Field(gt=0)] | None, Published(-1)]
"""An interval in steps or epochs; None (or -1) for never."""
OptionalText = Annotated[str | None, Published("")]
"""A text; None (or the empty string) if none is given."""


class Config(BaseModel):
    """Base of all configuration models: frozen, strict about types, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        defer_build=True,  # most models of a part are never used by a plan
    )

    seed_keys: ClassVar[tuple[str, ...]] = ()
    """Keys that an entry of a plan's ``seeds`` sets together."""

    names_elsewhere: ClassVar[Mapping[str, str]] = {}
    """Keys by the names that other programs have for them, for a message about such a name."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of keys that do not fit together."""
        yield from ()

    def missing(self) -> Iterator[Problem]:
        """Yield the problems of keys whose package or data this machine lacks.

        Nested configurations are included.
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
        """Yield notices on valid keys that the user should know."""
        yield from ()

    @classmethod
    def key_names(cls) -> list[str]:
        """Return the keys as a plan writes them."""
        return [field.alias or name for name, field in cls.model_fields.items()]

    @classmethod
    @functools.cache
    def marked(cls, marker: Marker) -> frozenset[str]:
        """Return the names of the keys that have ``marker``."""
        return frozenset(
            name for name, field in cls.model_fields.items() if marker in field.metadata
        )

    @classmethod
    @functools.cache
    def _may_hold(cls, marker: Marker) -> tuple[str, ...]:
        """Return the names of the keys that have ``marker``, or whose values may contain one."""
        return tuple(
            name
            for name, field in cls.model_fields.items()
            if marker in field.metadata or any(models_in(field.annotation))
        )

    def marked_values(self, marker: Marker) -> Iterator[tuple[Key, Any]]:
        """Yield the given values of the keys that have ``marker``, in nested configurations too.

        Lists and objects are split into single values.
        """
        for name in self._may_hold(marker):
            if marker is IGNORED and name not in self.model_fields_set:
                continue
            yield from _leaves(getattr(self, name), (name,), marker, name in self.marked(marker))

    def identity(self) -> dict[str, Any]:
        """Return the keys that can change results, as plain values."""
        left_out = {*self.marked(NO_EFFECT), *self._later_as_before()}
        plain = self.model_dump(mode="json", exclude=left_out)
        fields = type(self).model_fields
        plain |= {name: fields[name].default for name in self.marked(COUNTS_AS_DEFAULT)}
        return {name: _identity(getattr(self, name), value) for name, value in plain.items()}

    @classmethod
    @functools.cache
    def _later_defaults(cls) -> Mapping[str, Any]:
        """Return the defaults of the keys that were added later."""
        fields = cls.model_fields
        return {
            name: fields[name].get_default(call_default_factory=True) for name in cls.marked(LATER)
        }

    def _later_as_before(self) -> Iterator[str]:
        """Yield the names of keys that were added later and have their defaults."""
        for name, default in self._later_defaults().items():
            if getattr(self, name) == default:
                yield name

    def ignored(self) -> Iterator[str]:
        """Yield the dotted keys that are given without effect, in nested configurations too."""
        for key, _ in self.marked_values(IGNORED):
            yield key_path(key)

    def inputs(self) -> Iterator[tuple[Key, str]]:
        """Yield the given input files and folders, and references to such, by key."""
        for key, value in self.marked_values(INPUT_FILE):
            yield key, str(value)
        for key, value in self.marked_values(INPUT_FILE_OR_ID):
            if str(value).startswith("@") or is_there(value):
                yield key, str(value)

    def input_files(self) -> dict[str, Path]:
        """Return the given input files and folders by key."""
        return {key_path(key): Path(value) for key, value in self.inputs()}


def _identity(value: Any, plain: Any) -> Any:
    """Return ``plain``, the plain form of ``value``, without what cannot change results."""
    if isinstance(value, Config):
        return value.identity()
    if isinstance(value, list | tuple):
        return [_identity(*pair) for pair in zip(value, plain, strict=True)]
    return plain


def _configs_at(value: Any, key: Key) -> Iterator[tuple[Key, Config]]:
    """Yield the configurations that a key's value is, or contains in a list, with their paths."""
    if isinstance(value, Config):
        yield key, value
    elif isinstance(value, list | tuple):
        for position, item in enumerate(value):
            yield from _configs_at(item, (*key, position))


def _leaves(value: Any, key: Key, marker: Marker, is_marked: bool) -> Iterator[tuple[Key, Any]]:
    """Yield the single values below a marked key, each with its path."""
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
