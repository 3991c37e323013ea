"""The keys of a run that makes a new, untrained model for a task's texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from common.errors import Problem
from common.fit_config import PositiveInt
from common.run_config import RunConfig
from grue.part_config import TaskConfig


class NewModelConfig(RunConfig):
    """A byte-pair vocabulary trained on texts, and the architecture that is to read it."""

    datapools: Annotated[tuple[TaskConfig, ...], Strict(False), Field(min_length=1)]
    """Tasks whose training prompts and references are the texts."""
    vocab_size: Annotated[int, Field(ge=257)] = 1000
    """Most entries of the vocabulary, the 256 bytes and end-of-sequence among them."""
    model_type: Literal["gpt2"] = "gpt2"
    """Architecture."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """Sizes of the architecture, by the names of its transformers configuration."""
    max_length: PositiveInt = 128
    """Positions of the model."""

    def problems(self) -> Iterator[Problem]:
        """What the tasks find wrong with their own keys."""
        yield from super().problems()
        for position, task in enumerate(self.datapools):
            yield from (problem.below(f"datapools[{position}]") for problem in task.problems())
