"""Keys of the linear two-label analysis (arXiv 2310.20703, section 4.3)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from common.config.fit import NonNegativeInt, PositiveFloat
from common.config.run import RunConfig
from common.errors import Problem

_LEAST_EPSILON = 1e-50  # below it, times squared leave float64


class LinearConfig(RunConfig):
    """Time that a linear model takes to learn one input whose reward starts with a given std."""

    opt_method: Literal["supervised", "expected_reinforce"] = "supervised"
    """Objective: cross-entropy, or the exact expected reward."""
    epsilon: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Standard deviation of the reward (+1 for the right label, -1 for the other) at the start,
    where the right label is the less probable one. 1 means equal probabilities; 1e-50 is the
    smallest value."""
    target_probability: Annotated[float, Field(gt=0, le=0.999999)] = 0.9
    """Probability of the right label at which the input counts as learned."""
    feature_norm: Annotated[float, Field(ge=1e-6, le=1e6)] = 1.0
    """Norm of the input's features; time is proportional to its inverse square."""
    lr: PositiveFloat = 0.1
    """Step size of the gradient steps that are counted in addition to the flow."""
    max_steps: NonNegativeInt = 200_000
    """Largest number of gradient steps to count; 0 counts none."""

    @property
    def start_logit(self) -> float:
        """Log-odds z of the right label at the start, where 2 sqrt(p (1 - p)) = epsilon."""
        root = math.sqrt((1 - self.epsilon) * (1 + self.epsilon))
        return 2 * (math.log(self.epsilon) - math.log1p(root))

    @property
    def target_logit(self) -> float:
        """Log-odds of the right label at which it counts as learned."""
        return math.log(self.target_probability) - math.log1p(-self.target_probability)

    def needs_preflight(self) -> bool:
        """Return false: everything is in the keys, and there are no files to check."""
        return False

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a start that cannot be computed, or of an earlier target."""
        yield from super().problems()
        if self.epsilon < _LEAST_EPSILON:
            yield Problem(f"must be at least {_LEAST_EPSILON}", "epsilon", self.epsilon)
        if self.target_logit <= self.start_logit:
            start = 1 / (1 + math.exp(-self.start_logit))
            yield Problem(
                f"with 'epsilon' = {self.epsilon} the right label starts at {start:.6g}; give more",
                "target_probability",
                self.target_probability,
            )
