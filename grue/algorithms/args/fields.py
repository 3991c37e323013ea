"""Types of keys that several algorithms have."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from common.config.base import COUNTS_AS_DEFAULT, IGNORED

Fraction = Annotated[float, Field(ge=0, le=1)]
Verbosity = Annotated[int, IGNORED, COUNTS_AS_DEFAULT]
