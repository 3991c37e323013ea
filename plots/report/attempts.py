"""Attempts of a report: how runs have failed, with what they were made, and what has changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from common.key_paths import key_path, leaves
from common.run.folder import PlanFolder
from common.run.status import FAILED, INTERRUPTED
from plots.report.runs import ReportRun
from plots.runs import json_object

MOST_FAILURES = 20
"""Number of failures that are shown with their logs."""
_MOST_FORMER = 50
_MOST_KEYS = 8
_MOST_NAMES = 5
_LONGEST_VALUE = 60


def failures(runs: Sequence[ReportRun]) -> list[dict[str, str]]:
    """Return what ended each run that failed: its reason, traceback and the log's last lines.

    There are up to `MOST_FAILURES` of them.
    """
    failed = [run for run in runs if run.state in (FAILED, INTERRUPTED)]
    return [
        {
            "name": run.name, "folder": run.row["folder"], "reason": run.status.get("reason") or "",
            "traceback": run.status.get("traceback") or "", "log": run.log_end(),
        }
        for run in failed[:MOST_FAILURES]
    ]  # fmt: skip


def provenance(runs: Sequence[ReportRun]) -> list[tuple[str, str]]:
    """Return commit, versions and machines of all attempts, and how many differ."""
    records = [record for run in runs if (record := run.provenance)]
    attempts = [attempt for one in records for attempt in (one, *one.get("later_attempts", []))]

    def told(values: Sequence[Any]) -> str:
        different = list(dict.fromkeys(str(value) for value in values if value))
        return ", ".join(different) or "unknown"

    packages = list(dict.fromkeys(name for one in attempts for name in one.get("versions", {})))
    versions = [(name, told([one["versions"].get(name) for one in attempts])) for name in packages]
    return [
        *_of_outputs(records),
        ("commit", told([one.get("commit") for one in attempts])),
        ("uncommitted changes", "yes" if any(one.get("diff") for one in attempts) else "no"),
        ("command", told([one.get("command") for one in attempts])),
        ("Python", told([one.get("python") for one in attempts])),
        ("platform", told([one.get("platform") for one in attempts])),
        ("host and device", told([
            f"{run.status['host']}, {run.status.get('device', '')}"
            for run in runs if run.status.get("host")
        ])),
        *((name, version) for name, version in versions if version != "unknown"),
    ]  # fmt: skip


def _of_outputs(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield what is known of outputs that another program has left and this one diagnosed."""
    for record in records:
        outputs = record.get("outputs")
        if not isinstance(outputs, dict):
            continue
        versions = outputs.get("versions") or {}
        known = {
            "outputs from": " ".join(filter(None, [outputs["source"], outputs.get("trainer")])),
            "files": ", ".join(outputs["files"]),
            "model": outputs.get("model"),
            "data set": outputs.get("dataset"),
            "versions of their run": ", ".join(f"{name} {own}" for name, own in versions.items()),
        }
        yield from ((name, value or "not told by their folder") for name, value in known.items())
        yield "diagnosed by", "this program, with what follows"


def changes(plan: PlanFolder, runs: Sequence[ReportRun]) -> list[dict[str, str]]:
    """Return what changed since earlier attempts, and since earlier runs of the same name.

    Runs with equal changes stand together.
    """
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    for run in runs:
        record = run.provenance
        tries = [record, *record.get("later_attempts", [])]
        for number, (before, after) in enumerate(pairwise(tries), 2):
            words = ", ".join(_changed(before, after)) or "nothing that is recorded"
            names[f"attempt {number}", words].append(run.name)
    for name, folder, words in _former_runs(plan, runs):
        names[f"since {folder}", words].append(name)
    return [
        {"name": _listed(own), "attempt": attempt, "changes": words}
        for (attempt, words), own in names.items()
    ]


def _listed(names: Sequence[str]) -> str:
    """Return different names, the first ones in full."""
    different = list(dict.fromkeys(names))
    more = f" and {len(different) - _MOST_NAMES} more" if len(different) > _MOST_NAMES else ""
    count = f" ({len(names)} runs)" if len(names) > 1 else ""
    return ", ".join(different[:_MOST_NAMES]) + more + count


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return what differs between two attempts' provenance."""
    told = []
    if before.get("commit") != after.get("commit"):
        told.append(f"commit {before.get('commit')!s:.8} to {after.get('commit')!s:.8}")
    if before.get("diff") != after.get("diff"):
        told.append("uncommitted changes")
    told += [
        f"{name} {before.get(name)} to {after.get(name)}"
        for name in ("command", "python", "platform")
        if before.get(name) != after.get(name)
    ]
    versions = before.get("versions", {})
    return told + [
        f"{name} {versions.get(name)} to {version}"
        for name, version in after.get("versions", {}).items()
        if versions.get(name) != version
    ]


def _former_runs(plan: PlanFolder, runs: Sequence[ReportRun]) -> Iterator[tuple[str, str, str]]:
    """Yield earlier runs in the plan's folder that it no longer makes, with the keys that differ.

    Each is compared with the run of its name that differs least.
    """
    own = {run.row["folder"] for run in runs}
    former = [
        path for path in sorted(plan.path.glob("*/config.json")) if path.parent.name not in own
    ]
    for path in former[:_MOST_FORMER]:
        before = json_object(path)
        alike = [run for run in runs if run.name == before.get("experiment_name") and run.config]
        differences = [_differing_keys(before, run.config) for run in alike]
        if differences:
            told = min(differences, key=len)
            more = f" and {len(told) - _MOST_KEYS} more" if len(told) > _MOST_KEYS else ""
            words = ", ".join(told[:_MOST_KEYS]) + more or "no key, but what its input files hold"
            yield alike[0].name, path.parent.name, words


def _differing_keys(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    old, new = dict(leaves(before)), dict(leaves(now))
    return [
        f"{key_path(key)} {_short(old.get(key))} to {_short(new.get(key))}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."
