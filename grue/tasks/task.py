"""Base class of tasks: sources of inputs and references."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from common.config.base import INPUT_FILE, Config, OptionalText
from common.registry import Registry

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Sample:
    """One input of a task."""

    id: str
    prompt: str
    references: tuple[str, ...]
    """Reference texts; empty where the task has none."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Further values that rewards and metrics of the task need."""
    token_ids: Sequence[int] | None = None
    """Prompt as tokens, which a policy with the same tokenizer reads instead of the text; None if
    the text is to be tokenized."""


class TaskArgs(Config):
    """Keys of ``datapool.args`` that every task has."""

    path: Annotated[OptionalText, INPUT_FILE] = None
    """Local data in the hub's schema: a file, or a folder with one file per split (JSONL, CSV or
    parquet); None loads from the hub."""


ArgsT = TypeVar("ArgsT", bound=Config)


class Task(ABC, Generic[ArgsT]):
    """Source of samples; built once per run from its args."""

    Args: ClassVar[type[Config]] = TaskArgs
    """Model of the task's keys."""

    def __init__(self, args: ArgsT) -> None:
        self.args = args

    def is_at_hand(self) -> bool:
        """True if the samples need no hub, so that they can be read in the preflight check.

        A task with a key ``path`` reads that path if it is given, and the hub otherwise.
        """
        return getattr(self.args, "path", "made") is not None

    @abstractmethod
    def samples(self, split: Split) -> list[Sample]:
        """Return the samples of a split, in the order of the source.

        Raises:
            UserError: the data cannot be loaded, or lacks columns (those needed and those found
                are named).
        """


TASKS: Registry[type[Task[Any]]] = Registry("task")
