"""Keys of a run that makes a new, untrained model for a task's texts."""

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
    """A vocabulary made of texts, and an untrained architecture for it."""

    datapools: Annotated[tuple[TaskConfig, ...], Strict(False), Field(min_length=1)]
    """Tasks whose training prompts and references are the texts."""
    vocabulary: Literal["byte_pairs", "words"] = "byte_pairs"
    """Entries of the vocabulary: byte pairs, which can write any text, or the most frequent words
    between spaces."""
    vocab_size: Annotated[int, Field(ge=3)] = 1000
    """Largest number of entries, including the special tokens and, for byte pairs, the 256
    bytes."""
    model_type: Literal["gpt2", "t5", "bart"] = "gpt2"
    """Architecture of the model."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """Sizes of the architecture, by the names of its transformers configuration."""
    max_length: PositiveInt = 128
    """Number of positions of the model."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the tasks' keys, and of a vocabulary too small for its bytes."""
        yield from super().problems()
        if self.vocabulary == "byte_pairs" and self.vocab_size < _BYTES_AND_SPECIAL:
            yield Problem(f"byte pairs need at least {_BYTES_AND_SPECIAL}: the bytes and the "
                          "special tokens", "vocab_size", self.vocab_size)  # fmt: skip
        for position, task in enumerate(self.datapools):
            yield from (problem.below(f"datapools[{position}]") for problem in task.problems())
