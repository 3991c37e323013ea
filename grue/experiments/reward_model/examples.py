"""Examples of a loss: responses of a split as texts, and the comparisons among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from grue.experiments.reward_model.objectives import Objective
from grue.scorers.reward_model import RewardSpec
from grue.tasks.choices.rows import choice_of
from grue.tasks.task import Sample

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """N choices of n responses each, and M examples that compare m of a choice's responses."""

    texts: Sequence[str]
    """[N n] texts that a reward model reads, choice by choice."""
    num_responses: int
    """Number of responses of a choice, n."""
    responses: Ints
    """[M, m] positions in ``texts``."""
    targets: NDArray[np.float64]
    """[M] target of each example."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def num_choices(self) -> int:
        """Number of choices, N."""
        return len(self.texts) // self.num_responses if self.num_responses else 0

    def without(self, too_long: NDArray[np.bool_]) -> Examples:
        """Return the examples of choices without any text that is too long [N n]."""
        kept = ~too_long.reshape(-1, self.num_responses).any(1)
        texts = np.repeat(kept, self.num_responses)
        moved = np.cumsum(texts) - 1
        examples = texts[self.responses].all(1)
        return Examples(
            [text for text, keep in zip(self.texts, texts, strict=True) if keep],
            self.num_responses,
            moved[self.responses[examples]],
            self.targets[examples],
        )


def make_examples(
    samples: Sequence[Sample], objective: Objective[Any], spec: RewardSpec
) -> Examples:
    """Return the examples of all samples, in their order.

    Raises:
        UserError: a sample lacks labels for the objective, or has another number of responses than
            the first one.
    """
    texts: list[str] = []
    responses: list[list[int]] = []
    targets: list[float] = []
    num_responses = 0
    for sample in samples:
        choice = choice_of(sample)
        num_responses = num_responses or len(choice.responses)
        try:
            if len(choice.responses) != num_responses:
                raise UserError(f"has {len(choice.responses)} responses, the first one has "
                                f"{num_responses}; give all as many")  # fmt: skip
            for places, target in objective.examples(choice):
                responses.append([len(texts) + place for place in places])
                targets.append(target)
        except UserError as error:
            raise UserError(f"sample '{sample.id}' {error}") from None
        texts += [spec.text(choice.prompt, response) for response in choice.responses]
    return Examples(texts, num_responses, np.array(responses, np.int64), np.array(targets))
