"""What a part finds: checks, speeds, numbers and errors, each a line of a file as it happens.

A part that crashes or hangs has so left everything it had found.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar


@dataclass(frozen=True)
class Check:
    """Something that must hold."""

    kind: ClassVar[str] = "check"
    name: str
    expected: str
    found: str
    tolerance: str
    passed: bool


@dataclass(frozen=True)
class Speed:
    """How long something takes, against what it is compared with in turn."""

    kind: ClassVar[str] = "speed"
    name: str
    seconds: float
    compared_with: str
    seconds_of_that: float

    @property
    def ratio(self) -> float:
        """Times as long as the other."""
        return self.seconds / self.seconds_of_that


@dataclass(frozen=True)
class Number:
    """Something measured that nothing is compared with."""

    kind: ClassVar[str] = "number"
    name: str
    value: float
    unit: str


@dataclass(frozen=True)
class Picture:
    """A figure that was drawn."""

    kind: ClassVar[str] = "picture"
    name: str
    path: str
    """Of a PNG, from the folder of the report."""


@dataclass(frozen=True)
class LeftOut:
    """Something that could not be looked at, and why."""

    kind: ClassVar[str] = "left out"
    name: str
    reason: str


@dataclass(frozen=True)
class Error:
    """Something that ended a test before its checks did."""

    kind: ClassVar[str] = "error"
    name: str
    text: str


Finding = Check | Speed | Number | Picture | LeftOut | Error
_KINDS: dict[str, type[Finding]] = {
    kind.kind: kind for kind in (Check, Speed, Number, Picture, LeftOut, Error)
}


class Findings:
    """Writes what a part finds to the end of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.failed: list[Check] = []
        """Checks that did not hold."""

    def add(self, finding: Finding) -> None:
        """Writes one finding."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"kind": finding.kind, **asdict(finding)}) + "\n")

    def close(self, name: str, found: float, expected: float, tolerance: float) -> bool:
        """Notes whether a number is as near the expected one as the tolerance says."""
        near = math.isfinite(found) and abs(found - expected) <= tolerance
        return self._note(name, f"{expected:.6g}", f"{found:.6g}", f"± {tolerance:.2g}", near)

    def at_most(self, name: str, found: float, limit: float) -> bool:
        """Notes whether a number, which may be a deviation, stays within a limit."""
        within = math.isfinite(found) and found <= limit
        return self._note(name, f"at most {limit:.6g}", f"{found:.6g}", "", within)

    def at_least(self, name: str, found: float, limit: float) -> bool:
        """Notes whether a number reaches a limit."""
        reached = math.isfinite(found) and found >= limit
        return self._note(name, f"at least {limit:.6g}", f"{found:.6g}", "", reached)

    def equal(self, name: str, found: Any, expected: Any) -> bool:
        """Notes whether something is what it should be."""
        return self._note(name, str(expected), str(found), "exact", found == expected)

    def speed(self, name: str, seconds: float, compared_with: str, seconds_of_that: float) -> None:
        """Notes a speed."""
        self.add(Speed(name, seconds, compared_with, seconds_of_that))

    def number(self, name: str, value: float, unit: str) -> None:
        """Notes a number."""
        self.add(Number(name, value, unit))

    def picture(self, path: Path) -> None:
        """Notes a PNG, and keeps a copy in a folder beside the findings."""
        folder = self.path.with_suffix("")
        folder.mkdir(exist_ok=True)
        shutil.copy(path, folder)
        self.add(Picture(path.stem, f"{folder.parent.name}/{folder.name}/{path.name}"))

    def left_out(self, name: str, reason: str) -> None:
        """Notes what could not be looked at, and why."""
        self.add(LeftOut(name, reason))

    def _note(self, name: str, expected: str, found: str, tolerance: str, passed: bool) -> bool:
        check = Check(name, expected, found, tolerance, bool(passed))
        self.add(check)
        if not check.passed:
            self.failed.append(check)
        return check.passed


def largest(values: Iterable[float]) -> float:
    """The largest of deviations; one that is not a number counts as infinite."""
    return max(math.inf if math.isnan(value) else value for value in values)


def read(path: Path) -> list[Finding]:
    """The findings in a file; none where there is none. A last line that was cut is left out."""
    found: list[Finding] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            continue
        found.append(_KINDS[values.pop("kind")](**values))
    return found
