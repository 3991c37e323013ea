"""Schemas of a run's records, which detect damaged files.

A record that does not fit is damaged. A message names it, and nothing in it is used.
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
    """Error of a file that does not contain what this program wrote."""


@with_config(_STRICT)
class Status(TypedDict, total=False):
    """Entries of a ``status.json`` that are used or shown."""

    status: str
    fingerprint: str
    config_fingerprint: str
    sources: dict[str, str]
    attempt: NonNegativeInt
    lost: NonNegativeInt
    pid: Annotated[int, Field(ge=0, le=_LARGEST_PID)]
    host: str
    threads: PositiveInt
    seconds: FiniteFloat
    score: FiniteFloat | None
    reason: str | None
    no_space: bool
    peak_memory: NonNegativeInt
    peak_gpu_memory: NonNegativeInt
    sizes: dict[str, NonNegativeInt]


@with_config(_STRICT)
class _Seeds(TypedDict):
    random_seed: int


@with_config(_STRICT)
class Provenance(TypedDict, total=False):
    """Entries of a ``provenance.json`` that a later attempt uses."""

    seeds: Required[_Seeds]
    threads: Required[PositiveInt]
    later_attempts: list[dict[str, Any]]


@with_config(_STRICT)
class EpochRow(TypedDict):
    """Row of a fit's ``metrics.jsonl``."""

    epoch: NonNegativeInt


@with_config(_STRICT)
class StepRow(TypedDict):
    """Row of a text run's ``metrics.jsonl``."""

    epoch: FiniteFloat
    step: NonNegativeInt


STATUS = TypeAdapter(Status)
PROVENANCE = TypeAdapter(Provenance)
EPOCH_ROW = TypeAdapter(EpochRow)
STEP_ROW = TypeAdapter(StepRow)


def why_unfit(value: Any, schema: TypeAdapter[Any]) -> str | None:
    """Return why ``value`` is no record of this kind; None if it is one."""
    try:
        schema.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        return f"'{place}': {first['msg']}" if place else str(first["msg"])
    return None
