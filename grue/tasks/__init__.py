"""Tasks that a configuration may name."""

from __future__ import annotations

from typing import Any

from common.custom.signatures import check_part
from grue.parts.rl4lms_classes import what_to_change
from grue.tasks import (
    cnn_daily_mail,
    commongen,
    crd3,
    daily_dialog,
    gsm8k,
    hub_dataset,
    imdb,
    iwslt2017,
    jsonl,
    narrative_qa,
    text,
    totto,
    wmt,
)
from grue.tasks.choices import mixed_preferences, preferences, ranked_samples
from grue.tasks.queries import corpora as query_corpora
from grue.tasks.synthetic import (
    arithmetic,
    diary,
    dummy_pool,
    number_lists,
    reasoning_gym,
    word_game,
)
from grue.tasks.task import TASKS, Task


def find(name: str) -> type[Task[Any]]:
    """Return the task called ``name``.

    Raises:
        UserError: there is no such task, or a user's class is no task or lacks a method.
    """
    found: type[Task[Any]] = TASKS.get(name)
    check_part(found, Task, what_to_change(found))
    return found
