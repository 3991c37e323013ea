"""Configuration of a task, reward or metric: its id, and its own args."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import Field, ValidationInfo, field_validator

from common.config.base import IGNORED, Config, Marker
from common.config.resolve import resolve, resolve_valid_keys, unknown_keys
from common.custom.user_code import naming
from common.errors import Problem, UserError
from common.key_paths import Key


class _Part(Protocol):
    Args: ClassVar[type[Config]]

    def __init__(self, args: Any) -> None: ...


PartT = TypeVar("PartT", bound=_Part)


class PartConfig(Config, Generic[PartT]):
    """A part by its id, with its args; args that are not given get their defaults."""

    id: str
    """Id of the part, or ``"custom:package.module:name"``."""
    args: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Keys of the part."""

    @classmethod
    def find(cls, name: str) -> type[PartT]:
        """Return the class of the part called ``name``.

        Raises:
            UserError: there is no such part.
        """
        raise NotImplementedError

    @field_validator("args", mode="before")
    @classmethod
    def _none_given(cls, args: Any) -> Any:
        return {} if args is None else args

    @field_validator("args")
    @classmethod
    def _with_defaults(cls, args: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        try:
            known, problems = resolve_valid_keys(cls.find(info.data.get("id", "")).Args, args)
        except UserError:
            return args
        return args if known is None or problems else known.model_dump(mode="json")

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of an unknown id, and of the part's own keys."""
        yield from super().problems()
        try:
            own = self.find(self.id).Args
        except UserError as error:
            yield Problem(str(error), "id", self.id)
            return
        _, wrong = resolve(own, self.args, dict.fromkeys(self.key_names(), "beside 'args'").get)
        yield from (problem.below("args") for problem in wrong)

    def missing(self) -> Iterator[Problem]:
        """Yield the problems of needs that this machine lacks for the part with these args."""
        yield from super().missing()
        try:
            known, _ = resolve_valid_keys(self.find(self.id).Args, self.args)
        except UserError:
            return
        for problem in () if known is None else known.missing():
            of_part = Problem(problem.message, "id", self.id)
            yield of_part if problem.key is None else problem.below("args")

    def unknown_in_parts(self) -> Iterator[Key]:
        """Yield the unknown keys of parts, including this part's own."""
        yield from super().unknown_in_parts()
        try:
            kind = self.find(self.id).Args
        except UserError:
            return
        yield from (("args", *key) for key in unknown_keys(kind, self.args))

    def identity(self) -> dict[str, Any]:
        """Return the keys that can change results, including the part's own."""
        try:
            known, _ = resolve_valid_keys(self.find(self.id).Args, self.args)
        except UserError:
            known = None
        own = {} if known is None else {"args": known.identity()}
        return {**super().identity(), **own}

    def marked_values(self, marker: Marker) -> Iterator[tuple[Key, Any]]:
        """Yield the marked keys and their values, including the part's own."""
        yield from super().marked_values(marker)
        try:
            kind = self.find(self.id).Args
        except UserError:
            return
        args = _given(kind, self.args) if marker is IGNORED else self.args
        known, _ = resolve_valid_keys(kind, args)
        if known is not None:
            yield from ((("args", *key), value) for key, value in known.marked_values(marker))

    def build(self) -> PartT:
        """Return the part, made from its args."""
        with naming(self.id):
            return self.find(self.id)(self.own_keys())

    def own_keys(self) -> Config:
        """Return the part's args as an instance of its own model."""
        return self.find(self.id).Args.model_validate(self.args)


def _given(kind: type[Config], args: dict[str, Any]) -> dict[str, Any]:
    """Return the args that differ from the defaults."""
    fields = kind.model_fields
    return {
        name: value
        for name, value in args.items()
        if name not in fields or fields[name].is_required() or value != fields[name].default
    }
