"""Drawing of a rollout's outputs: of which inputs, and how many, batch by batch.

What decides whether more is drawn are numbers that all ranks have, so that all do alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from grue.policies.prompt_encoder import Tokens
from grue.rollouts.hints import hopeless
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.pools import is_full, pools
from grue.rollouts.resampling import is_short
from grue.rollouts.settings import RolloutSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Inputs whose outputs are drawn together."""

    rows: Sequence[int]
    """Positions among the run's inputs."""
    groups: Sequence[int]
    """Numbers of the inputs in the rollout, from 0."""
    attempt: int
    """Number of the batch in the rollout, from 0."""
    num_samples: int
    """Number of outputs of each input."""
    hints: Sequence[Tokens] | None = None
    """Tokens behind the prompt of each input; None for none."""

    def behind(self, prompts: Sequence[Tokens]) -> list[Tokens]:
        """Return the prompts of the inputs with their hints."""
        hints = self.hints or [[] for _ in prompts]
        return [[*prompt, *hint] for prompt, hint in zip(prompts, hints, strict=True)]

    def whole(self, outputs: Sequence[Tokens]) -> list[Tokens]:
        """Return the outputs with the hints of their inputs before them, as rewards read them."""
        return [[*hint, *output] for hint, output in self._hinted(outputs)]

    def without_hints(self, rewards: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Return rewards of outputs, [] or [T] each, without those of the hints' tokens."""
        return [of[len(hint) :] if of.ndim else of for hint, of in self._hinted(rewards)]

    def _hinted(self, of_outputs: Sequence[T]) -> Iterator[tuple[Tokens, T]]:
        """Yield the hint of each output, no token without one, and what belongs to the output."""
        hints = self.hints or [[] for _ in self.rows]
        of_hints = [hint for hint in hints for _ in range(self.num_samples)]
        return zip(of_hints, of_outputs, strict=True)

    def places(self, num_envs: int) -> list[int]:
        """Return the places of the inputs among ``num_envs``, which fix their random numbers."""
        return [group % num_envs for group in self.groups]


Sample = Callable[[PendingRollout, Batch], None]
"""Function that adds the scored outputs of a batch to a rollout."""


def draw_outputs(
    sample: Sample,
    batches: Iterator[list[int]],
    settings: RolloutSettings,
    hint_of: Callable[[int], Tokens],
) -> PendingRollout:
    """Return scored outputs, as many as the settings ask for, those drawn in vain included.

    Args:
        sample: draws and scores the outputs of a batch.
        batches: positions of ``settings.num_envs`` inputs at a time.
        settings: sizes of the rollout, and what is drawn further where rewards do not deviate.
        hint_of: returns the tokens behind the prompt of the input at a position.
    """
    found = PendingRollout()
    if settings.groups.draw_more is not None:
        _draw_pools(found, sample, next(batches), settings)
        return found
    number, size = 0, settings.num_envs
    while is_short(found, settings, number):
        groups = range(number * size, (number + 1) * size)
        sample(found, Batch(next(batches), groups, number, settings.samples_per_input))
        number += 1
    if settings.groups.hint_share is not None:
        _draw_hinted(found, sample, number, settings, hint_of)
    return found


def _draw_hinted(
    found: PendingRollout,
    sample: Sample,
    attempt: int,
    settings: RolloutSettings,
    hint_of: Callable[[int], Tokens],
) -> None:
    """Draw the outputs of groups without a right one once more, with hints."""
    size = settings.samples_per_input
    rows = {group: found.inputs[group * size] for group in hopeless(found, settings)}
    hints = {group: hint_of(row) for group, row in rows.items()}
    chosen = [group for group, hint in hints.items() if hint]
    if chosen:
        of_chosen = [hints[group] for group in chosen]
        sample(found, Batch([rows[g] for g in chosen], chosen, attempt, size, of_chosen))


def _draw_pools(
    found: PendingRollout, sample: Sample, rows: Sequence[int], settings: RolloutSettings
) -> None:
    """Draw rounds of outputs of the inputs at ``rows`` whose pools are not yet full."""
    rules = settings.groups.draw_more
    assert rules is not None
    active = list(range(len(rows)))
    for number in range(rules.max_rounds):
        chosen = [rows[group] for group in active]
        sample(found, Batch(chosen, active, number, rules.round_size))
        of_groups = pools(found, settings)
        active = [
            group
            for group in active
            if not is_full(of_groups[group], settings.samples_per_input, rules)
        ]
        if not active:
            return
