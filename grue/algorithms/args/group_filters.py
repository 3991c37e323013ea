"""Settings that choose groups: by the pass rates of their inputs, or by their reward variance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from common.config.base import Config
from common.config.fit import PositiveInt
from common.errors import Problem
from grue.algorithms.args.fields import Fraction


class DifficultyBand(Config):
    """Band of running pass rates, both ends included (arXiv 2504.03380)."""

    min: Fraction = 0.0
    """Least running pass rate."""
    max: Fraction = 1.0
    """Largest running pass rate."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of an empty band."""
        yield from super().problems()
        if self.min > self.max:
            yield Problem(f"is more than 'max' = {self.max}", "min", self.min)


class GroupFilter(Config):
    """Groups of the largest reward variances (RAGEN-2, arXiv 2604.06268), silent ones left out."""

    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of the rollout's summed reward variance that the fewest groups have; only these are
    used."""
    top_k: PositiveInt | None = None
    """Number of groups of the largest reward variance, which are used."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of two sizes, or of none."""
        yield from super().problems()
        if (self.top_p is None) == (self.top_k is None):
            yield Problem("needs one of 'top_p' and 'top_k'")
