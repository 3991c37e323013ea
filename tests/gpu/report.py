"""The report: all that is known so far, as JSON and as a page to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from common.run_folder import write_json, write_text
from tests.gpu.findings import Check, Error, Finding, LeftOut, Number, Speed
from tests.gpu.running import Result

FindingT = TypeVar("FindingT", bound=Finding)


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
            }
            for result in results
        ],
    }
    write_json(folder / "report.json", document)
    write_text(folder / "report.md", "\n".join(_page(machine, results)) + "\n")


def _plain(finding: Finding) -> dict[str, Any]:
    more = {"ratio": finding.ratio} if isinstance(finding, Speed) else {}
    return {"kind": finding.kind, **asdict(finding), **more}


def _page(machine: dict[str, str], results: Sequence[Result]) -> Iterator[str]:
    wrong = [result.name for result in results if result.has_failed]
    waiting = sum(result.status == "waiting" for result in results)
    yield f"# {machine['device']}"
    yield ""
    yield ", ".join(f"{name} {value}" for name, value in machine.items() if name != "device")
    yield ""
    yield f"Failed: {', '.join(wrong)}." if wrong else "Nothing failed."
    if waiting:
        yield f"{waiting} parts are still to come."
    yield from _table("Parts", ("part", "status", "seconds"),
                      [(r.name, r.status, f"{r.seconds:.0f}") for r in results])  # fmt: skip
    yield from _section(
        "Speeds", results, Speed, ("what", "seconds", "compared with", "seconds", "ratio"),
        lambda s: (s.name, f"{s.seconds:.4g}", s.compared_with, f"{s.seconds_of_that:.4g}",
                   f"{s.ratio:.2f}"),
    )  # fmt: skip
    yield from _section("Numbers", results, Number, ("what", "value", "unit"),
                        lambda n: (n.name, f"{n.value:.5g}", n.unit))  # fmt: skip
    yield from _section(
        "Checks", results, Check, ("check", "expected", "found", "tolerance", ""),
        lambda c: (c.name, c.expected, c.found, c.tolerance, "" if c.passed else "**FAILED**"),
    )  # fmt: skip
    yield from _section("Left out", results, LeftOut, ("what", "why"),
                        lambda left: (left.name, left.reason))  # fmt: skip
    for result in results:
        for error in _of_kind(result, Error):
            yield f"\n## Error in {result.name}: {error.name}\n\n```\n{error.text}\n```"


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
    return " ".join(value.split()).replace("|", "\\|")
