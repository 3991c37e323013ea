"""The queue of waiting runs: their order, what they wait for, and what blocks them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from common.run.status import DONE, FAILED, INTERRUPTED, RUNNING, SKIPPED, WAITING
from common.runner.run_state import RunState
from common.runner.waiting_runs import WaitingRuns


@dataclass(eq=False)
class Run:
    """What the queue looks at."""

    name: str
    references: list[Any] = field(default_factory=list)


@dataclass
class Reference:
    run: Run


class Plan:
    """Runs that refer to each other by name, and their states."""

    def __init__(self, **sources: str) -> None:
        self.runs = {name: Run(name) for name in sources}
        for name, run in self.runs.items():
            run.references = [Reference(self.runs[source]) for source in sources[name]]
        self.states = {run: RunState(WAITING) for run in self.runs.values()}

    def queue(self) -> WaitingRuns:
        waiting = [run for run in self.runs.values() if self.states[run].state == WAITING]
        return WaitingRuns(waiting, self.states)  # type: ignore[arg-type]

    def end(self, queue: WaitingRuns, name: str, state: str) -> None:
        run: Any = self.runs[name]
        if run in queue:
            queue.remove(run)
        self.states[run] = RunState(state)
        queue.note_end(run)


def names(runs: Any) -> str:
    return "".join(run.name for run in runs)


def test_a_run_is_ready_when_all_that_it_refers_to_are_done() -> None:
    plan = Plan(d="ab", a="", b="", c="a", e="dd")
    queue = plan.queue()
    assert (names(queue), names(queue.ready()), len(queue)) == ("dabce", "ab", 5)
    plan.end(queue, "a", DONE)
    assert names(queue.ready()) == "bc"
    plan.end(queue, "b", DONE)
    assert names(queue.ready()) == "dc"
    assert queue.first_ready() is plan.runs["d"]
    plan.end(queue, "d", DONE)
    assert names(queue.ready()) == "ce"


def test_what_was_done_before_is_not_waited_for_and_what_goes_on_is() -> None:
    plan = Plan(a="", b="", c="a", d="b")
    plan.states[plan.runs["a"]] = RunState(DONE)  # type: ignore[index]
    plan.states[plan.runs["b"]] = RunState(RUNNING)  # type: ignore[index]
    queue = plan.queue()
    assert names(queue.ready()) == "c"
    plan.end(queue, "b", DONE)
    assert names(queue.ready()) == "cd"


@pytest.mark.parametrize("state", [FAILED, SKIPPED, INTERRUPTED])
def test_what_refers_to_a_run_that_will_not_be_done_is_blocked(state: str) -> None:
    plan = Plan(a="", b="", c="ab", d="c")
    queue = plan.queue()
    assert list(queue.take_blocked()) == []
    plan.end(queue, "a", state)
    plan.end(queue, "b", DONE)
    taken = []
    for run, source in queue.take_blocked():
        taken.append((run.name, source.name))
        plan.end(queue, run.name, SKIPPED)
    assert taken == [("c", "a"), ("d", "c")]
    assert len(queue) == 0
    assert queue.first_ready() is None


def test_what_had_failed_before_blocks_too() -> None:
    plan = Plan(a="", b="a", c="")
    plan.states[plan.runs["a"]] = RunState(FAILED)  # type: ignore[index]
    queue = plan.queue()
    assert [names(pair) for pair in queue.take_blocked()] == ["ba"]
    assert names(queue) == "c"


def test_a_run_that_is_put_back_goes_first() -> None:
    plan = Plan(a="", b="", c="b")
    queue = plan.queue()
    run: Any = plan.runs["b"]
    queue.remove(run)
    assert names(queue.ready()) == "a"
    queue.put_first(run)
    assert names(queue) == "bac"
    assert names(queue.ready()) == "ba"
    queue.remove(run)
    plan.end(queue, "b", DONE)
    assert names(queue.ready()) == "ac"
