"""Random numbers that draw outputs, which depend on a run's seed and the update alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BLOCK = 1024
"""Updates whose numbers are drawn together."""


class Uniforms:
    """Uniform numbers of R runs, so that a resumed run needs no state of a generator."""

    def __init__(self, seeds: Sequence[int], num_inputs: int) -> None:
        """Set the runs' root seeds, each below 2**32."""
        self._seeds = seeds
        self._num_inputs = num_inputs
        self._number: int | None = None
        self._block = np.empty(0)

    def of(self, update: int) -> np.ndarray:
        """Return [R, B] numbers in [0, 1) of an update."""
        number, place = divmod(update, _BLOCK)
        if number != self._number:
            streams = [np.random.default_rng([seed, number]) for seed in self._seeds]
            shape = _BLOCK, self._num_inputs
            self._block = np.stack([stream.random(shape) for stream in streams], 1)  # [S, R, B]
            self._number = number
        numbers: np.ndarray = self._block[place]
        return numbers
