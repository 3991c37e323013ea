"""Base class of tasks: sources of inputs and references."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from common.config.base import INPUT_FILE, Config, OptionalText
from common.config.hub_revision import Revision
from common.errors import Problem
from common.registry import Registry

Split = Literal["train", "val", "test"]


Message = Mapping[str, str]
"""Message of a chat: ``role`` (system, user or assistant) and ``content``."""


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
    messages: Sequence[Message] | None = None
    """Prompt as chat messages, which a policy reads by its tokenizer's chat template instead of the
    text; None for plain text. Rewards and metrics see `prompt`."""


class TaskArgs(Config):
    """Keys of ``datapool.args`` that every task has."""

    path: Annotated[OptionalText, INPUT_FILE] = None
    """Local data in the hub's schema: a file, or a folder with one file per split (JSONL, CSV or
    parquet); None loads from the hub."""


class HubTaskArgs(TaskArgs):
    """Keys of a task whose data may come from the hub."""

    revision: Revision = None
    """Branch, tag or commit of the data set on the hub; None (or the empty string) for the task's
    own."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a revision of local data."""
        yield from super().problems()
        yield from self.revision_of_local("revision")

    def revision_of_local(self, key: str) -> Iterator[Problem]:
        """Yield the problem of a revision, the value of ``key``, if ``path`` is given."""
        revision = getattr(self, key)
        if revision is not None and self.path is not None:
            yield Problem("is of a data set of the hub, and 'path' gives local data; take one of "
                          "them out", key, revision)  # fmt: skip


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
