"""What a task is: where its inputs and references come from."""

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
    """The texts that would be right; none where the task has none."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What else rewards and metrics of the task need to know."""
    token_ids: Sequence[int] | None = None
    """The prompt as tokens, which a policy with the tokenizer that made them reads instead of the
    text; None where the text is tokenized."""


class TaskArgs(Config):
    """The keys of ``datapool.args`` that every task has."""

    path: Annotated[OptionalText, INPUT_FILE] = None
    """Local data in the hub's schema: a file, or a folder with one file per split (JSONL, CSV or
    parquet); None loads from the hub."""


ArgsT = TypeVar("ArgsT", bound=Config)


class Task(ABC, Generic[ArgsT]):
    """A source of samples; built once per run from its args."""

    Args: ClassVar[type[Config]] = TaskArgs
    """The model of the task's keys."""

    def __init__(self, args: ArgsT) -> None:
        self.args = args

    def is_at_hand(self) -> bool:
        """Whether the samples are read or made without the hub, so that they are looked at early.

        A task with a key ``path`` reads its files where one is given, and the hub's otherwise.
        """
        return getattr(self.args, "path", "made") is not None

    @abstractmethod
    def samples(self, split: Split) -> list[Sample]:
        """The samples of a split, in the order of the source.

        Raises:
            UserError: the data cannot be loaded, or lacks columns (those needed and those found
                are named).
        """


TASKS: Registry[type[Task[Any]]] = Registry("task")
