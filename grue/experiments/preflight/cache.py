"""Cache of a preflight check, so that runs with the same data or model share one look."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, TypeVar

from common.errors import Problem, UserError
from common.plan.run import Run

T = TypeVar("T")


class Answers:
    """Results by question; an error is stored as a result."""

    def __init__(self) -> None:
        self._found: dict[Hashable, Any] = {}

    def once(self, question: Hashable, look: Callable[[], T]) -> T | UserError:
        """Return the result of ``look``, or its `UserError`; it is called once per question."""
        if question not in self._found:
            try:
                self._found[question] = look()
            except UserError as error:
                self._found[question] = error
        found: T | UserError = self._found[question]
        return found


def problems_of_all(
    runs: Sequence[Run], problems_of: Callable[[Run, Answers], Iterator[Problem]]
) -> list[Problem]:
    """Return the problems of all runs, placed at their configurations; looks are shared."""
    answers = Answers()
    return [problem.at(run.where) for run in runs for problem in problems_of(run, answers)]
