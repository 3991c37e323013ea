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
    with_config,
)
from typing_extensions import TypedDict

from common.errors import UserError

_STRICT = ConfigDict(strict=True, extra="allow")
_LARGEST_PID = 2**31 - 1


class DamagedError(UserError):
    """A file does not hold what this program writes there."""


@with_config(_STRICT)
class Status(TypedDict, total=False):
    """The entries of a ``status.json`` that are computed with or shown."""

    status: str
    fingerprint: str
    attempt: NonNegativeInt
    pid: Annotated[int, Field(ge=0, le=_LARGEST_PID)]
    pid_started: FiniteFloat
    host: str
    threads: PositiveInt
    seconds: FiniteFloat
    score: FiniteFloat | None
    reason: str | None
    no_space: bool


@with_config(_STRICT)
class _Seeds(TypedDict):
    random_seed: int


@with_config(_STRICT)
class Provenance(TypedDict, total=False):
    """The entries of a ``provenance.json`` that a later attempt goes by."""

    seeds: Required[_Seeds]
    threads: Required[PositiveInt]
    later_attempts: list[dict[str, Any]]


@with_config(_STRICT)
class EpochRow(TypedDict):
    """A row of a fit's ``metrics.jsonl``."""

    epoch: NonNegativeInt


@with_config(_STRICT)
class StepRow(TypedDict):
    """A row of a text run's ``metrics.jsonl``."""

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
