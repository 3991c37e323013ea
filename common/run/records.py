"""What the records of a run hold: schemas that say whether a file is still what was written.

A record that does not fit is damaged. It is named, and nothing in it is used.
"""

from __future__ import annotations

from typing import Annotated, Any, Required

from pydantic import (
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)
from typing_extensions import TypedDict

from common.errors import UserError

_STRICT = ConfigDict(strict=True, extra="allow")
_LARGEST_PID = 2**31 - 1


class DamagedError(UserError):
    """A file does not hold what this program writes there."""


class Status(TypedDict, total=False):
    """The entries of a ``status.json`` that are computed with or shown."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    status: str
    fingerprint: str
    config_fingerprint: str
    sources: dict[str, str]
    attempt: NonNegativeInt
    pid: Annotated[int, Field(ge=0, le=_LARGEST_PID)]
    pid_started: FiniteFloat
    host: str
    threads: PositiveInt
    seconds: FiniteFloat
    score: FiniteFloat | None
    reason: str | None
    no_space: bool


class _Seeds(TypedDict):
    __pydantic_config__ = _STRICT  # type: ignore[misc]

    random_seed: int


class Provenance(TypedDict, total=False):
    """The entries of a ``provenance.json`` that a later attempt goes by."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    seeds: Required[_Seeds]
    threads: Required[PositiveInt]
    later_attempts: list[dict[str, Any]]


class EpochRow(TypedDict):
    """A row of a fit's ``metrics.jsonl``."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    epoch: NonNegativeInt


class StepRow(TypedDict):
    """A row of a text run's ``metrics.jsonl``."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]

    epoch: FiniteFloat
    step: NonNegativeInt


STATUS = TypeAdapter(Status)
PROVENANCE = TypeAdapter(Provenance)
EPOCH_ROW = TypeAdapter(EpochRow)
STEP_ROW = TypeAdapter(StepRow)


def why_unfit(value: Any, schema: TypeAdapter[Any]) -> str | None:
    """What keeps ``value`` from being a record of this kind; None where nothing does."""
    try:
        schema.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"'{place}': {first['msg']}" if place else str(first["msg"])
    return None
