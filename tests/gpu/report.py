"""The report: all that is known so far, as JSON and as a page to read, what failed at its top."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from common.run.folder import write_json, write_text
from tests.gpu.findings import Check, Error, Finding, LeftOut, Number, Picture, Speed
from tests.gpu.running import FAILED, LEFT_OUT, NOT_RUN, PASSED, RUNNING, WAITING, Result

FindingT = TypeVar("FindingT", bound=Finding)
_LONGEST = 200


def write(folder: Path, machine: dict[str, str], results: Sequence[Result]) -> None:
    """Writes ``report.json`` and ``report.md``, each whole or not at all."""
    document = {
        "machine": machine,
        "parts": [
            {
                "name": result.name,
                "status": result.status,
                "seconds": round(result.seconds, 1),
                "findings": [_plain(finding) for finding in result.findings],
                "last_words": result.last_words,
            }
            for result in results
        ],
    }
    write_json(folder / "report.json", document)
    write_text(folder / "report.md", "\n".join(_page(machine, results)) + "\n")


def summary(results: Sequence[Result]) -> str:
    """How many parts passed, and which did not."""
    told = [f"{sum(result.status == PASSED for result in results)} of {len(results)} parts passed"]
    failed = [result.name for result in results if result.has_failed]
    told += [f"failed: {', '.join(failed)}"] if failed else []
    for status in (LEFT_OUT, NOT_RUN, RUNNING, WAITING):
        names = [result.name for result in results if result.status == status]
        told += [f"{status}: {', '.join(names)}"] if names else []
    return "; ".join(told)


def told(check: Check) -> str:
    """A check in one line."""
    expected, found = _short(check.expected), _short(check.found)
    return f"{check.name}: expected {expected} {check.tolerance}, found {found}"


def message(text: str) -> str:
    """What a text with a traceback says went wrong, without where it did; or its last line."""
    told = re.search(r"^E +(?P<error>.+)|Fatal Python error.*", text, re.MULTILINE)
    if told:
        return told["error"] or told[0]
    return text.strip().rpartition("\n")[2]


def _plain(finding: Finding) -> dict[str, Any]:
    more = {"ratio": finding.ratio} if isinstance(finding, Speed) else {}
    return {"kind": finding.kind, **asdict(finding), **more}


def _page(machine: dict[str, str], results: Sequence[Result]) -> Iterator[str]:
    yield f"# {machine['device']}"
    yield ""
    yield ", ".join(f"{name} {value}" for name, value in machine.items() if name != "device")
    yield ""
    yield f"**{summary(results)}**"
    yield from _table("What failed", ("part", "what", "expected", "found", "tolerance"),
                      [row for result in results for row in _failures(result)])  # fmt: skip
    yield from _table("Parts", ("part", "status", "seconds", "checks that hold", "left out"),
                      [_overview(result) for result in results])  # fmt: skip
    yield from _section(
        "Speeds", results, Speed, ("what", "time", "compared with", "time of that", "ratio"),
        lambda s: (s.name, _time(s.seconds), s.compared_with, _time(s.seconds_of_that),
                   f"{s.ratio:.2f}"),
    )  # fmt: skip
    yield from _section("Numbers", results, Number, ("what", "value", "unit"),
                        lambda n: (n.name, _number(n.value), n.unit))  # fmt: skip
    yield from _section("Left out", results, LeftOut, ("what", "why"),
                        lambda left: (left.name, left.reason))  # fmt: skip
    for result in results:
        for picture in _of_kind(result, Picture):
            yield f"\n## {result.name}: {picture.name}\n\n![{picture.name}]({picture.path})"
    for result in results:
        texts = {error.name: error.text for error in _of_kind(result, Error)} | result.last_words
        for title, text in texts.items():
            yield f"\n## {result.name}: {title}\n\n```\n{text}\n```"
    yield from _section(
        "All checks", results, Check, ("check", "expected", "found", "tolerance", ""),
        lambda c: (c.name, c.expected, c.found, c.tolerance, "" if c.passed else "**FAILED**"),
    )  # fmt: skip


def _failures(result: Result) -> Iterator[tuple[str, ...]]:
    """A part's failed checks and errors, and how its process ended where that tells more."""
    if result.has_failed and result.status != FAILED:
        yield result.name, "its process", PASSED, result.status, ""
    for check in _of_kind(result, Check):
        if not check.passed:
            yield result.name, check.name, check.expected, check.found, check.tolerance
    for error in _of_kind(result, Error):
        yield result.name, error.name, "no error", message(error.text), ""


def _overview(result: Result) -> tuple[str, ...]:
    checks = _of_kind(result, Check)
    holding = f"{sum(check.passed for check in checks)} of {len(checks)}" if checks else ""
    left_out = len(_of_kind(result, LeftOut))
    status = f"**{result.status}**" if result.has_failed else result.status
    return result.name, status, f"{result.seconds:.0f}", holding, str(left_out or "")


def _of_kind(result: Result, kind: type[FindingT]) -> list[FindingT]:
    return [finding for finding in result.findings if isinstance(finding, kind)]


def _section(
    title: str, results: Sequence[Result], kind: type[FindingT], columns: Sequence[str],
    row: Callable[[FindingT], Sequence[str]],
) -> Iterator[str]:  # fmt: skip
    rows = [(result.name, *row(f)) for result in results for f in _of_kind(result, kind)]
    yield from _table(title, ("part", *columns), rows)


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        return
    yield f"\n## {title}\n"
    yield f"| {' | '.join(columns)} |"
    yield f"|{' --- |' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(_cell(value) for value in row)} |"


def _cell(value: str) -> str:
    """Text that leaves its row of a table whole."""
    return _short(" ".join(value.split())).replace("|", "\\|")


def _short(text: str) -> str:
    """The beginning of what is too long for a line; ``report.json`` has all of it."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def _number(value: float) -> str:
    """Five digits, or a large number as a whole one with its thousands apart."""
    return f"{value:,.0f}" if abs(value) >= 1e5 else f"{value:.5g}"


def _time(seconds: float) -> str:
    """Seconds in the unit in which they are read most easily."""
    if seconds >= 1:
        return f"{seconds:.0f} s" if seconds >= 100 else f"{seconds:.3g} s"
    return f"{1e3 * seconds:.3g} ms" if seconds >= 1e-3 else f"{1e6 * seconds:.3g} µs"
