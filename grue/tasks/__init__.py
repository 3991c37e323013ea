"""The tasks that a configuration may name."""

from __future__ import annotations

from typing import Any

from grue.tasks.task import TASKS, Task


def find(name: str) -> type[Task[Any]]:
    """The task called ``name``.

    Raises:
        UserError: there is none.
    """
    return TASKS.get(name)
