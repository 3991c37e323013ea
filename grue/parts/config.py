"""Tasks, rewards and metrics as a configuration names them: an id, and the part's own args."""

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
    """A part by its id, with its args; those that are not given are filled in."""

    id: str
    """Name of the part, or ``"custom:package.module:name"``."""
    args: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """The part's own keys."""

    @classmethod
    def find(cls, name: str) -> type[PartT]:
        """The class of the part called ``name``.

        Raises:
            UserError: there is none.
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
        """An unknown id, and what does not fit the part's own keys."""
        yield from super().problems()
        try:
            own = self.find(self.id).Args
        except UserError as error:
            yield Problem(str(error), "id", self.id)
            return
        _, wrong = resolve(own, self.args, dict.fromkeys(self.key_names(), "beside 'args'"))
        yield from (problem.below("args") for problem in wrong)

    def missing(self) -> Iterator[Problem]:
        """What this machine lacks for the part with these args."""
        yield from super().missing()
        try:
            known, _ = resolve_valid_keys(self.find(self.id).Args, self.args)
        except UserError:
            return
        for problem in () if known is None else known.missing():
            of_part = Problem(problem.message, "id", self.id)
            yield of_part if problem.key is None else problem.below("args")

    def unknown_in_parts(self) -> Iterator[Key]:
        """Also those of the part."""
        yield from super().unknown_in_parts()
        try:
            kind = self.find(self.id).Args
        except UserError:
            return
        yield from (("args", *key) for key in unknown_keys(kind, self.args))

    def identity(self) -> dict[str, Any]:
        """The keys that can change results, of the part's own ones too."""
        try:
            known, _ = resolve_valid_keys(self.find(self.id).Args, self.args)
        except UserError:
            known = None
        own = {} if known is None else {"args": known.identity()}
        return {**super().identity(), **own}

    def marked_values(self, marker: Marker) -> Iterator[tuple[Key, Any]]:
        """Also those among the part's own keys."""
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
        """The part, made from its args."""
        with naming(self.id):
            return self.find(self.id)(self.own_keys())

    def own_keys(self) -> Config:
        """The part's args as the part takes them."""
        return self.find(self.id).Args.model_validate(self.args)


def _given(kind: type[Config], args: dict[str, Any]) -> dict[str, Any]:
    """The args that were given, as far as that can be told: those that are not the defaults."""
    fields = kind.model_fields
    return {
        name: value
        for name, value in args.items()
        if name not in fields or fields[name].is_required() or value != fields[name].default
    }
