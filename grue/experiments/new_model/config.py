"""The keys of a run that makes a new, untrained model for a task's texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from common.config.fit import PositiveInt
from common.config.run import RunConfig
from common.errors import Problem
from grue.tasks.config import TaskConfig

_BYTES_AND_SPECIAL = 258


class NewModelConfig(RunConfig):
    """A vocabulary made of texts, and the architecture that is to read it."""

    datapools: Annotated[tuple[TaskConfig, ...], Strict(False), Field(min_length=1)]
    """Tasks whose training prompts and references are the texts."""
    vocabulary: Literal["byte_pairs", "words"] = "byte_pairs"
    """What its entries are: byte pairs that tell any text, or the texts' words between blanks,
    the most frequent first."""
    vocab_size: Annotated[int, Field(ge=3)] = 1000
    """Most entries, the special tokens and, of byte pairs, the 256 bytes among them."""
    model_type: Literal["gpt2", "t5", "bart"] = "gpt2"
    """Architecture."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """Sizes of the architecture, by the names of its transformers configuration."""
    max_length: PositiveInt = 128
    """Positions of the model."""

    def problems(self) -> Iterator[Problem]:
        """What the tasks find wrong with their own keys; a vocabulary too small for its bytes."""
        yield from super().problems()
        if self.vocabulary == "byte_pairs" and self.vocab_size < _BYTES_AND_SPECIAL:
            yield Problem(f"byte pairs need at least {_BYTES_AND_SPECIAL}: the bytes and the "
                          "special tokens", "vocab_size", self.vocab_size)  # fmt: skip
        for position, task in enumerate(self.datapools):
            yield from (problem.below(f"datapools[{position}]") for problem in task.problems())
