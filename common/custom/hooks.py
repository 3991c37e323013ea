"""Calls of an experiment's hooks, with checks of what they return."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from common.custom.user_code import told
from common.errors import UserError, repr_of
from common.process.snapshot import directory_kept
from common.process.stopping import StoppedAtOnce

AnswerT = TypeVar("AnswerT")
_LONGEST = 100


@contextmanager
def asking(experiment: str, hook: str) -> Iterator[None]:
    """Guard calls of ``hook`` of ``experiment``, and keep the working directory.

    Raises:
        UserError: the hook raises an error or ends the program; it is named with its experiment.
    """
    try:
        with directory_kept():
            yield
    except (UserError, StoppedAtOnce):
        raise
    except BaseException as error:
        raise UserError(f"experiment '{experiment}': its {hook} raised {told(error)}") from error


def answers(
    kind: type[AnswerT], experiment: str, hook: str, ask: Callable[[], Any]
) -> list[AnswerT]:
    """Return the list that a hook returned, after checking the kind of each entry.

    Raises:
        UserError: it is no list of this kind, or iterating over it raises an error.
    """
    with asking(experiment, hook):
        given = ask()
        is_list = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping)
        found = list(given) if is_list else None
    if found is None or not all(isinstance(entry, kind) for entry in found):
        raise UserError(
            f"experiment '{experiment}': its {hook} gave {shown(given if found is None else found)}"
            f"; it gives a list of {kind.__name__}, empty if there is nothing to report"
        )
    return found


def shown(value: Any) -> str:
    """Return a value and its type, as text for people."""
    return f"{repr_of(value)[:_LONGEST]} (of type {type(value).__name__})"
