"""Settings of a supervised loss on labelled inputs beside the policy's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from common.config.base import LATER
from common.config.fit import NonNegativeFloat, NonNegativeInt, PositiveInt
from common.errors import Problem
from grue.algorithms.config import AlgorithmArgs


class SupervisedLossArgs(AlgorithmArgs):
    """A supervised loss on references, which each optimizer step adds to that of rewards."""

    sft_coeff: Annotated[NonNegativeFloat, LATER] = 0.0
    """Coefficient of the supervised loss, the mean over tokens of -log pi of references (and of the
    end after them) of labelled training inputs; 0 for none."""
    sft_batch_size: Annotated[PositiveInt, LATER] = 8
    """Largest number of references in the supervised loss of an optimizer step, drawn anew for each
    of all references of the labelled inputs."""
    sft_samples: Annotated[PositiveInt | None, LATER] = None
    """Number of labelled training inputs, the only ones whose references are learned, drawn once by
    ``sft_seed``; None for all."""
    sft_seed: Annotated[NonNegativeInt, LATER] = 0
    """Seed of the draw of labelled inputs, which are the same in all runs."""
    sft_join_with_blank: Annotated[bool, LATER] = True
    """If true, prompt and reference of a causal model are joined by a space in the supervised loss,
    unless one has white space there."""

    def unread_keys(self) -> Iterator[tuple[str, str]]:
        """Yield keys of a loss that is left out, and the seed of a draw that takes all."""
        yield from super().unread_keys()
        if self.sft_coeff == 0:
            for name in ("sft_batch_size", "sft_seed", "sft_join_with_blank"):
                yield name, "with 'sft_coeff' = 0"
        elif self.sft_samples is None:
            yield "sft_seed", "without 'sft_samples'"

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of labelled inputs without a loss."""
        yield from super().problems()
        if self.sft_samples is not None and self.sft_coeff == 0:
            yield Problem("'sft_coeff' = 0 leaves the supervised loss out; raise it, or drop this",
                          "sft_samples", self.sft_samples)  # fmt: skip
