"""Preferences from two sources, prompt by prompt: some on-policy, the others as in the data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from common.config.base import Config, SeedNumber
from common.errors import Problem, UserError
from grue.tasks.config import TaskConfig
from grue.tasks.task import TASKS, Sample, Split, Task

_Key = tuple[str, int]
"""Prompt, and how many earlier samples of the source have the same."""


class MixedPreferencesArgs(Config):
    """Keys of a mix of preferences."""

    first: TaskConfig
    """Task whose preferences a share of the prompts has, such as pairs of the policy's outputs."""
    second: TaskConfig
    """Task whose preferences the other prompts have."""
    share: Annotated[float, Field(ge=0, le=1)]
    """Share of the prompts with preferences of ``first``, f."""
    seed: SeedNumber = 182
    """Seed of the permutation of prompts, of which the first f have those of ``first``."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of both tasks' keys."""
        yield from super().problems()
        yield from (problem.below("first") for problem in self.first.problems())
        yield from (problem.below("second") for problem in self.second.problems())


@TASKS.register("mixed_preferences")
class MixedPreferences(Task[MixedPreferencesArgs]):
    """One preference for each prompt that both sources have, in the order of ``second``.

    Sources are aligned by their prompts, so that one of them may lack some; a prompt that occurs
    several times is aligned in the order of its occurrences. Where both have the same prompts in
    the same order, the mix is the published one (arXiv 2503.15477), index by index.
    """

    Args = MixedPreferencesArgs

    def __init__(self, args: MixedPreferencesArgs) -> None:
        super().__init__(args)
        self.first, self.second = args.first.build(), args.second.build()

    def is_at_hand(self) -> bool:
        """True if both sources are."""
        return self.first.is_at_hand() and self.second.is_at_hand()

    def samples(self, split: Split) -> list[Sample]:
        """Return one sample per prompt that both sources have.

        Raises:
            UserError: they share no prompt.
        """
        first, second = (_by_prompt(task.samples(split)) for task in (self.first, self.second))
        shared = [key for key in second if key in first]
        if not shared:
            example = next(iter(first), ("", 0))[0]
            raise UserError(
                f"'first' and 'second' share no prompt of the split '{split}'; give two sources of "
                f"the same prompts (one has {example[:60]!r})"
            )
        order = np.random.RandomState(self.args.seed).permutation(len(shared))
        chosen = set(order[: int(self.args.share * len(shared))].tolist())
        return [(first if row in chosen else second)[key] for row, key in enumerate(shared)]


def _by_prompt(samples: Sequence[Sample]) -> dict[_Key, Sample]:
    seen = Counter[str]()
    found = {}
    for sample in samples:
        found[sample.prompt, seen[sample.prompt]] = sample
        seen[sample.prompt] += 1
    return found
