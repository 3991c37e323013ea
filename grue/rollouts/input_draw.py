"""Draw of the inputs of rollouts, and what it keeps of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from grue.random_streams import Occasion, generator
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.settings import RolloutSettings


class InputDraw:
    """Draw of inputs, ``settings.num_envs`` at a time: at random, or in order."""

    def __init__(self, num_inputs: int, settings: RolloutSettings, *, seed: int) -> None:
        self.num_inputs = num_inputs
        self.settings = settings
        self.seed = seed
        self.num_drawn = 0
        """Number of outputs drawn so far, those drawn in vain included."""

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

    def record(self, drawn: PendingRollout) -> None:
        """Count all scored outputs of a rollout."""
        self.num_drawn += len(drawn.outputs)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for checkpoints."""
        return {"num_drawn": self.num_drawn}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.num_drawn = state["num_drawn"]
