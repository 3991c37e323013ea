"""Draw of the inputs of a rollout."""

from __future__ import annotations

from collections.abc import Iterator

from grue.random_streams import Occasion, generator
from grue.rollouts.settings import RolloutSettings


class InputDraw:
    """Draw of inputs, ``settings.num_envs`` at a time: at random, or in order."""

    def __init__(self, num_inputs: int, settings: RolloutSettings, *, seed: int) -> None:
        self.num_inputs = num_inputs
        self.settings = settings
        self.seed = seed

    def batches(self, iteration: int) -> Iterator[list[int]]:
        """Yield the positions of the inputs of each batch of an iteration, without end."""
        size = self.settings.num_envs
        draw = generator(Occasion.INPUTS_OF_ROLLOUT, self.seed, iteration)
        while True:
            if self.settings.inputs_in_order:
                first = iteration * size
                yield [row % self.num_inputs for row in range(first, first + size)]
            else:
                yield draw.integers(self.num_inputs, size=size).tolist()
