"""Draw of the inputs of rollouts, and what it keeps of earlier ones."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from grue.random_streams import Occasion, generator
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.settings import RolloutSettings

log = logging.getLogger(__name__)


class InputDraw:
    """Draw of inputs, ``settings.num_envs`` at a time: at random, or in order.

    Inputs whose running pass rates the settings exclude are not drawn.
    """

    def __init__(self, num_inputs: int, settings: RolloutSettings, *, seed: int) -> None:
        self.num_inputs = num_inputs
        self.settings = settings
        self.seed = seed
        self.num_drawn = 0
        """Number of outputs drawn so far, those drawn in vain included."""
        self.pass_rates: dict[int, float] = {}
        """Running pass rates by the positions of inputs; those never drawn have none."""
        self.hinted: set[int] = set()
        """Positions of the inputs whose references were shown in part."""

    def batches(self, iteration: int) -> Iterator[list[int]]:
        """Yield the positions of the inputs of each batch of an iteration, without end."""
        size = self.settings.num_envs
        draw = generator(Occasion.INPUTS_OF_ROLLOUT, self.seed, iteration)
        left = self.left()
        while True:
            if self.settings.inputs_in_order:
                first = iteration * size
                yield [row % self.num_inputs for row in range(first, first + size)]
            else:
                yield [left[place] for place in draw.integers(len(left), size=size).tolist()]

    def left(self) -> range | list[int]:
        """Return the positions of the inputs that may be drawn."""
        rules = self.settings.groups.input_filter
        every = range(self.num_inputs)
        if rules is None:
            return every
        rates = self.pass_rates
        return [row for row in every if row not in rates or rules.keeps(rates[row])]

    def record(self, drawn: PendingRollout) -> None:
        """Count all scored outputs of a rollout, and note the pass rates of their inputs.

        A rate is that of the first K outputs drawn of an input in a rollout, for further ones are
        drawn because of these. Where no input is left, all come back.
        """
        self.num_drawn += len(drawn.outputs)
        if self.settings.groups.hint_share is not None:
            size = self.settings.samples_per_input
            again = (rows for rows in drawn.rows_of_groups() if len(rows) > size)
            self.hinted |= {drawn.inputs[rows[0]] for rows in again}
        rules, size = self.settings.groups.input_filter, self.settings.samples_per_input
        if rules is None:
            return
        is_right = drawn.are_right(self.settings.groups)
        for rows in drawn.rows_of_groups():
            row, rate = drawn.inputs[rows[0]], float(is_right[rows[:size]].mean())
            self.pass_rates[row] = (self.pass_rates.get(row, rate) + rate) / 2
        if not self.left():
            log.warning(
                "the pass rates of all %d inputs are outside 'alg.args.solved_above' and "
                "'alg.args.difficulty_band': all are drawn again, and their rates begin anew",
                self.num_inputs,
            )
            self.pass_rates.clear()

    def statistics(self) -> dict[str, float]:
        """Return the share of the inputs that may be drawn, if not all may."""
        if self.settings.groups.input_filter is None:
            return {}
        return {"groups/inputs_left": len(self.left()) / self.num_inputs}

    def state_dict(self) -> dict[str, Any]:
        """Return the state for checkpoints."""
        return {
            "num_drawn": self.num_drawn,
            "pass_rates": dict(self.pass_rates),
            "hinted": sorted(self.hinted),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.num_drawn = state["num_drawn"]
        self.hinted = set(state.get("hinted", ()))
        self.pass_rates = dict(state.get("pass_rates", {}))
