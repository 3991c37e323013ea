"""Tables of a setting as a plan or a setting file writes them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from common.config.base import Config
from common.errors import Problem

Rows = Annotated[list[list[float]], Field(min_length=1)]
_TOLERANCE = 1e-6


class SettingTables(Config):
    """Features and rewards of all outputs of all inputs, and how the policy starts."""

    output_features: Annotated[list[list[list[float]]], Field(min_length=1)]
    """Features of each output of each input (inputs x outputs x features)."""
    rewards: Rows
    """Rewards that are trained on (inputs x outputs)."""
    ground_truth_rewards: Rows
    """Ground truth rewards (inputs x outputs)."""
    initial_policy_probabilities: Rows | None = None
    """Probabilities of the outputs at the start (inputs x outputs), which win over weights; None if
    weights give the start."""
    initial_policy_weights: Rows | None = None
    """Weights at the start (1 x features)."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of tables whose sizes do not fit together, and of no start."""
        features = self.output_features
        sizes = {len(outputs) for outputs in features}
        dims = {len(phi) for outputs in features for phi in outputs}
        if len(sizes) != 1 or len(dims) != 1 or 0 in sizes | dims:
            yield Problem(
                "must be inputs x outputs x features, with as many outputs for every input, and "
                "as many features for every output",
                "output_features",
            )
            return
        shape = len(features), sizes.pop()
        for key in ("rewards", "ground_truth_rewards", "initial_policy_probabilities"):
            rows = getattr(self, key)
            if rows is not None and not _has_shape(rows, shape):
                yield Problem(f"must be {shape[0]} x {shape[1]} (inputs x outputs), as "
                              "'output_features' says", key)  # fmt: skip
        for number, row in enumerate(self.initial_policy_probabilities or []):
            if (why := _why_not_probabilities(row)) is not None:
                yield Problem(why, f"initial_policy_probabilities[{number}]", row)
        (dim,) = dims
        weights = self.initial_policy_weights
        if weights is not None and not _has_shape(weights, (1, dim)):
            yield Problem(f"must be 1 x {dim} (features)", "initial_policy_weights")
        if weights is None and self.initial_policy_probabilities is None:
            yield Problem("is missing, and so is 'initial_policy_weights'; give one of the two",
                          "initial_policy_probabilities")  # fmt: skip


def _has_shape(rows: Rows, shape: tuple[int, int]) -> bool:
    return len(rows) == shape[0] and all(len(row) == shape[1] for row in rows)


def _why_not_probabilities(row: list[float]) -> str | None:
    """Return why an input's numbers are not the probabilities of its outputs; None if they are."""
    if min(row, default=0) < 0:
        return "has a number below 0"
    total = math.fsum(row)
    return None if abs(total - 1) <= _TOLERANCE else f"sums to {total:.6g}; it must sum to 1"
