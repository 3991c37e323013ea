"""Reports of a plan on a terminal: the dry run, and the results at the end."""

from __future__ import annotations

import itertools
import json
import logging
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from common.plan.run import Plan, Run
from common.run.folder import RunFolder
from common.run.status import DONE, FAILED, RUNNING
from common.run.summary import score_name
from common.runner.changed_keys import changed_runs
from common.runner.run_state import RunState
from common.runner.selection import Selection
from common.runner.source_changes import changes_told, source_changes
from common.runner.text_table import as_text
from common.runner.unique_labels import distinguishing

log = logging.getLogger(__name__)

_MOST_ROWS = 40
_MOST_DAMAGES = 5
_BEGIN = "run"


def say(text: str) -> None:
    """Print text on standard output, and into the log file if there is one."""
    log.info("%s", text)


def dry_run(plan: Plan, selection: Selection) -> str:
    """Return the table of all runs, with what each waits for and what would be done."""
    to_make = set(selection.to_make)
    changes = source_changes(selection.to_make)
    rows = []
    keys, values = _what_varies(plan.runs)
    for run, varied in zip(plan.runs, values, strict=True):
        waits_for = dict.fromkeys(
            f"{reference.run.name} ({reference.run.fingerprint[:8]})"
            for reference in run.references
        )
        intention = _intention(run, selection) if run in to_make else "left out (not selected)"
        if run in changes:
            intention = "made again"
        rows.append(
            [run.name, *varied, run.fingerprint[:8], run.stage, ", ".join(waits_for) or None,
             intention]
        )  # fmt: skip
    table = as_text(["name", *keys, "fingerprint", "stage", "waits for", "would be"], rows)
    begun = [
        run
        for run in selection.to_make
        if run not in changes and _intention(run, selection) == _BEGIN
    ]
    lines = [table, f"{len(rows)} runs in {plan.folder.path}", *changes_told(changes.values())]
    return "\n".join([*lines, *_changes(plan, begun)])


def _changes(plan: Plan, begun: Sequence[Run]) -> Iterator[str]:
    """Yield the changed keys of runs that would be made in place of done ones."""
    found = list(itertools.islice(changed_runs(begun, plan.runs), _MOST_ROWS + 1))
    if found:
        yield "changed since a run of this name was done, whose folder stays:"
    for change in found[:_MOST_ROWS]:
        yield f"  {change}"
    if len(found) > _MOST_ROWS:
        yield "  ..."


def _what_varies(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Return the keys that distinguish runs of the same name, and their values in each run."""
    known = [
        {**{key: json.dumps(value) for key, value in run.point.items()},
         "repetition": str(run.repetition)}
        for run in runs
    ]  # fmt: skip
    keys = distinguishing([(run.name, run.stage) for run in runs], known)
    return keys, [[row.get(key, "") for key in keys] for row in known]


def _intention(run: Run, selection: Selection) -> str:
    state = selection.states[run].state
    if state == DONE:
        return "skipped (done)"
    if state == FAILED:
        return "skipped (failed; --retry_failed tries again)"
    if state == RUNNING:
        return "left to the process that makes it"
    if RunFolder(run.folder).read_status().get("attempt"):
        return "made anew" if selection.fresh else "continued"
    return _BEGIN


def outcome(plan: Plan, selection: Selection, states: Mapping[Run, RunState]) -> str:
    """Return the table of the runs' results, and the best configuration by score."""
    first = set(sorted(selection.to_make, key=lambda run: states[run].state == DONE)[:_MOST_ROWS])
    shown = [run for run in selection.to_make if run in first]
    keys, values = _what_varies(shown)
    rows = [
        [run.name, *varied, run.fingerprint[:8], run.stage, states[run].state, states[run].score,
         score_name(RunFolder(run.folder)), states[run].seconds, states[run].reason or None]
        for run, varied in zip(shown, values, strict=True)
    ]  # fmt: skip
    columns = ["name", *keys, "fingerprint", "stage", "status", "score", "of", "seconds", "reason"]
    lines = [as_text(columns, rows)]
    if len(rows) < len(selection.to_make):
        lines.append(f"... and {len(selection.to_make) - len(rows)} more in {plan.folder.index}")
    ended = [states[run].state for run in selection.to_make]
    return "\n".join([*lines, *_best(plan, states), *advice(ended)])


def left_in_queue(count: int) -> str:
    """Return the line of a command that leaves so many runs in a queue."""
    are = "runs are" if count > 1 else "run is"
    return (f"{count} {are} in the queue; --status tells more, and the same command takes up what "
            "has ended")  # fmt: skip


def advice(states: Sequence[str]) -> list[str]:
    """Return advice on runs that the same command would not make."""
    failed = states.count(FAILED)
    if not failed:
        return []
    return [f"{failed} failed: --retry_failed tries again, from the last checkpoints"]


def damages_told(damages: Iterable[tuple[str, str | None]]) -> list[str]:
    """Return lines about damage to runs, given by name, that were done; and how to mend it."""
    found = [(name, damage) for name, damage in damages if damage is not None]
    lines = [
        f"{damage}; {name} was done, and --fresh --only '{name}' makes it again"
        for name, damage in found[:_MOST_DAMAGES]
    ]
    more = len(found) - len(lines)
    return [*lines, f"{more} more runs are damaged"] if more else lines


def _best(plan: Plan, states: Mapping[Run, RunState]) -> Iterator[str]:
    """Return, for runs of each kind, the configuration with the best mean score over seeds.

    The mean is also over repetitions. Runs are of one kind if their experiment and score are the
    same. Stages that others start from do not compete.
    """
    sources = {reference.run for run in plan.runs for reference in run.references}
    kinds: dict[tuple[str, str | None], list[Run]] = defaultdict(list)
    for run in plan.runs:
        if run not in sources and states[run].state == DONE and states[run].score is not None:
            kinds[run.experiment, score_name(RunFolder(run.folder))].append(run)
    for (_, score), runs in kinds.items():
        yield from _best_of(plan, states, runs, score or "score")


def _best_of(
    plan: Plan, states: Mapping[Run, RunState], runs: Sequence[Run], score: str
) -> Iterator[str]:
    """Yield the best configuration of runs of one kind, if there are several."""
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        groups[_configuration(run)].append(run)
    if len(groups) < 2:
        return
    means = {
        name: statistics.fmean(states[run].score or 0.0 for run in runs)
        for name, runs in groups.items()
    }
    largest = plan.document.largest
    if "largest" not in plan.document.model_fields_set:  # then the runs themselves say it
        largest = getattr(runs[0].config, "score_largest", largest)
    best = (max if largest else min)(means, key=means.__getitem__)
    count = len(groups[best])
    of_runs = f"{count} run{'s' if count > 1 else ''}"
    yield f"best: {groups[best][0].name} ({best}), mean {score} {means[best]:.6g} over {of_runs}"


def _configuration(run: Run) -> str:
    """Return the key of the run's configuration, without its seeds."""
    point = {key: value for key, value in run.point.items() if key not in run.config.seed_keys}
    options = [f"{key}={json.dumps(value)}" for key, value in point.items()]
    return ", ".join([run.stage or run.where, *options])


def paths(found: list[Path]) -> str:
    """Return one path per line."""
    return "\n".join(str(path) for path in found)
