"""Reasoning Gym: procedural problems with graded scorers (Stojanovski et al., 2025)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from common.config.fit import PositiveInt
from common.errors import Problem, UserError
from common.packages import lacking
from common.registry import suggestion
from grue.tasks.chat import ChatArgs
from grue.tasks.task import TASKS, Sample, Split, Task

ENTRY = "entry"
"""Key of a sample's metadata for the generator's entry, which the problem's scorer needs."""


class ReasoningGymArgs(ChatArgs):
    """Keys of the problems of Reasoning Gym."""

    generator: str
    """Name of the generator, such as ``chain_sum``."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Keys of the generator itself, such as ``{"max_terms": 3}``; those left out have its own
    defaults."""
    num_samples: PositiveInt = 1000
    """Number of problems of the training split; the others have a quarter of them."""
    prompt_suffix: str = ""
    """Text after the problem, such as the form in which to answer."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the problems."""

    def missing(self) -> Iterator[Problem]:
        """Yield the package, if it is missing."""
        yield from super().missing()
        yield from lacking("reasoning-gym", "generator", self.generator, module="reasoning_gym")


@TASKS.register("reasoning_gym")
class ReasoningGym(Task[ReasoningGymArgs]):
    """Problems of one generator, each with its answer as the reference, where there is one."""

    Args = ReasoningGymArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the problems of a split: consecutive ones of one stream, split after split.

        Raises:
            UserError: there is no such generator, or it refuses its options.
        """
        size = self.args.num_samples
        held_out = max(size // 4, 1)
        numbers = {
            "train": range(size),
            "val": range(size, size + held_out),
            "test": range(size + held_out, size + 2 * held_out),
        }
        found = [
            self._sample(f"{split}_{i}", entry)
            for i, entry in enumerate(self._entries(numbers[split]))
        ]
        return self.args.in_form(found)

    def _sample(self, name: str, entry: dict[str, Any]) -> Sample:
        answer = entry["answer"]
        return Sample(
            name,
            entry["question"] + self.args.prompt_suffix,
            () if answer is None else (str(answer),),
            {**_difficulty(entry), ENTRY: entry},
        )

    def _entries(self, numbers: range) -> list[dict[str, Any]]:
        """Return the generator's entries at ``numbers``."""
        import reasoning_gym
        from reasoning_gym.factory import DATASETS

        args = self.args
        if args.generator not in DATASETS:
            near = suggestion(args.generator, sorted(DATASETS))
            raise UserError(f"'datapool.args.generator' = '{args.generator}': unknown{near}")
        # An entry's seed is that of the first plus its number: near seeds would share most entries.
        seed = random.Random(args.seed).getrandbits(31)
        options = {**args.options, "size": numbers.stop, "seed": seed}
        try:
            made = reasoning_gym.create_dataset(args.generator, **options)
            return [made[number] for number in numbers]
        except Exception as error:  # of any of a hundred generators, for options it cannot take
            raise UserError(
                f"'datapool.args.options' = {args.options}: '{args.generator}' makes no problems "
                f"of them ({type(error).__name__}: {error})"
            ) from error


def _difficulty(entry: Mapping[str, Any]) -> dict[str, int]:
    """Return a problem's own numbers of what makes problems of its generator difficult."""
    known = entry.get("metadata", {})
    return {
        name: known[name] for name in known.get("difficulty") or () if type(known.get(name)) is int
    }
