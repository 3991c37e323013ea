"""The tasks that a configuration may name."""

from __future__ import annotations

from typing import Any

from common.signatures import check_part
from grue.rl4lms_classes import what_to_change
from grue.tasks import (
    cnn_daily_mail,  # noqa: F401
    commongen,  # noqa: F401
    crd3,  # noqa: F401
    daily_dialog,  # noqa: F401
    diary,  # noqa: F401
    dummy_pool,  # noqa: F401
    imdb,  # noqa: F401
    iwslt2017,  # noqa: F401
    jsonl,  # noqa: F401
    narrative_qa,  # noqa: F401
    number_lists,  # noqa: F401
    preferences,  # noqa: F401
    query_corpora,  # noqa: F401
    ranked_samples,  # noqa: F401
    text,  # noqa: F401
    totto,  # noqa: F401
    wmt,  # noqa: F401
    word_game,  # noqa: F401
)
from grue.tasks.task import TASKS, Task


def find(name: str) -> type[Task[Any]]:
    """The task called ``name``.

    Raises:
        UserError: there is none, or one of the user's is no task or lacks a method.
    """
    found: Any = TASKS.get(name)
    check_part(found, Task, what_to_change(found))
    return found
