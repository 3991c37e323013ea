"""Status report of a plan from its folder alone: while it runs, and after a crash."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from common.errors import UserError
from common.experiment import EXPERIMENTS
from common.plan.load import Outline, outline
from common.run import status
from common.run.folder import PlanFolder, RunFolder, read_last_json_line
from common.run.status import DONE, QUEUED, STATES
from common.run.summary import score_name
from common.run.written_files import damage
from common.runner.index import FIXED_COLUMNS, read_index
from common.runner.report import advice, damages_told
from common.runner.scheduling.slurm.report import QueueReport
from common.runner.selection import matcher
from common.runner.source_changes import changes_in, changes_told
from common.runner.text_table import as_text
from common.runner.unique_labels import distinguishing


@dataclass(frozen=True)
class _Row:
    name: str
    fingerprint: str
    stage: str | None
    folder: RunFolder
    options: Mapping[str, str]
    """Values that its plan varies, and its repetition."""


def status_report(plan: Outline, only: str | None = None) -> str:
    """Return the table of the plan's runs, or of those whose name or stage matches ``only``.

    If the plan's folder holds the runs of another variant of it, the text says so.
    """
    folder = plan.folder
    is_meant = matcher(only)
    rows = [row for row in _rows(folder) if is_meant(row.name, row.stage)]
    if not rows:
        nothing = "nothing has run yet" if only is None else f"nothing that fits --only '{only}'"
        return f"{folder.path}: {nothing}; --dry_run shows what would run"
    keys = distinguishing([(row.name, row.stage) for row in rows], [row.options for row in rows])
    cells, states, damages, damages_since = [], [], [], []
    queue = QueueReport(folder)
    for row in rows:
        found = row.folder.read_status()
        damages.append(row.folder.status_damage())
        varied = [row.options.get(key, "") for key in keys]
        state, reason = queue.told(
            row.folder.path, status.current(row.folder, found), found.get("reason")
        )
        states.append(state)
        if state == DONE:
            damages_since.append((row.name, damage(row.folder, found)))
        cells.append([row.name, *varied, row.fingerprint[:8], row.stage, state,
                      _progress(row.folder), found.get("score"), score_name(row.folder),
                      found.get("seconds"), reason])  # fmt: skip
    columns = ["name", *keys, "fingerprint", "stage", "status", "progress", "score", "of",
               "seconds", "reason"]  # fmt: skip
    counts = ", ".join(
        f"{states.count(state)} {state}" for state in (*STATES, QUEUED) if state in states
    )
    lines = [as_text(columns, cells), f"{counts} in {folder.path}", *advice(states)]
    lines += [f"{each}; the run counts as waiting" for each in damages if each is not None]
    lines += damages_told(damages_since)
    lines += [queue.problem] if queue.problem else []
    lines += changes_told(changes_in(row.folder for row in rows))
    if not _is_last_run(plan):
        lines.append(
            f"these are the runs of another variant of the plan, {folder.plan} (an edited file, "
            "another --set, or another file of this name); --dry_run shows yours"
        )
    return "\n".join(lines)


def _is_last_run(plan: Outline) -> bool:
    """Return whether the plan that was last run in the folder makes the runs of ``plan``.

    The result is true if there is no record.
    """
    try:
        last = outline(plan.folder.plan, EXPERIMENTS)
    except UserError:
        return True
    return last.runs == plan.runs


def _rows(folder: PlanFolder) -> Iterator[_Row]:
    """Yield the runs in the index; without an index, those that have left a folder."""
    listed = read_index(folder)
    for row in listed:
        run = RunFolder(folder.path / row["folder"])
        options = {key: row[key] for key in row if key not in FIXED_COLUMNS or key == "repetition"}
        yield _Row(row["name"], row["fingerprint"], row["stage"], run, options)
    if not listed:
        for path in sorted(folder.path.glob("*/status.json")):
            run = RunFolder(path.parent)
            fingerprint = str(run.read_status().get("fingerprint", ""))
            yield _Row(path.parent.name, fingerprint, None, run, {})


def _progress(folder: RunFolder) -> str | None:
    """Return the run's progress by its last whole row of metrics: in steps if it counts them.

    A step or epoch may have several rows; epochs count from 0.
    """
    row = read_last_json_line(folder.metrics)
    if row is None:
        return None
    for key, unit, done in (("step", "step", 0), ("epoch", "epoch", 1)):
        if isinstance(row.get(key), int):
            count = row[key] + done
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return None
