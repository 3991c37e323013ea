"""Stages of a plan as a small graph: boxes, and an arrow from each stage to those that read it."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.run.folder import PlanFolder
from plots.runs import json_object

Stages = Mapping[str, Sequence[str]]
"""Names of a plan's stages, each with those that it reads."""

Entry = Mapping[str, Any]
"""Configuration as the plan writes it."""

_REFERENCE = re.compile(r"@(?P<id>[\w-]+)\.[\w-]+")
_WIDTH, _HEIGHT = 150, 30
_GAP_ACROSS, _GAP_DOWN = 50, 14
_LONGEST_NAME = 20


def stages(folder: PlanFolder) -> Stages:
    """Return the stages of a plan in order, named as in its index, each with those it reads."""
    plan = json_object(folder.plan)
    entries = plan.get("configurations", [])
    by_id = {entry["id"]: entry for entry in entries if entry.get("id")}
    found = {}
    for number, entry in enumerate(entries):
        name = entry.get("id") or f"configurations[{number}]"
        text = json.dumps([*_layers(entry, by_id)])
        reads = dict.fromkeys(match["id"] for match in _REFERENCE.finditer(text))
        found[name] = [each for each in reads if each != name]
    return found


def _layers(entry: Entry | None, by_id: Mapping[str, Entry]) -> Iterator[Entry]:
    """Yield a configuration, the one that it extends, the one that this extends, and so on."""
    while entry is not None:
        yield entry
        entry = by_id.get(entry.get("extends") or "")


@dataclass(frozen=True)
class Box:
    """Stage in the picture; lengths are in pixels."""

    name: str
    label: str
    """Name, cut to the box's width."""
    x: int
    y: int

    width = _WIDTH
    height = _HEIGHT


@dataclass(frozen=True)
class Graph:
    """Picture of the stages."""

    boxes: Sequence[Box]
    arrows: Sequence[str]
    """Paths of the arrows, as SVG has them."""

    @property
    def width(self) -> int:
        """Width in pixels."""
        return max(box.x for box in self.boxes) + _WIDTH + 2

    @property
    def height(self) -> int:
        """Height in pixels."""
        return max(box.y for box in self.boxes) + _HEIGHT + 2


def graph(found: Stages) -> Graph | None:
    """Return the picture, in which a stage stands right of all that it reads.

    An arrow is left out where others lead the same way. None without stages.
    """
    columns = {name: _column(found, name) for name in found}
    rows: dict[int, int] = defaultdict(int)
    boxes: dict[str, Box] = {}
    for name, column in columns.items():
        x, y = 1 + column * (_WIDTH + _GAP_ACROSS), 1 + rows[column] * (_HEIGHT + _GAP_DOWN)
        rows[column] += 1
        label = name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"
        boxes[name] = Box(name, label, x, y)
    arrows = [
        _arrow(boxes[each], boxes[name])
        for name, reads in found.items()
        for each in reads
        if each in boxes and not any(each in _sources(found, other) for other in reads)
    ]
    return Graph(list(boxes.values()), arrows) if boxes else None


def _column(found: Stages, name: str, after: tuple[str, ...] = ()) -> int:
    """Return the number of stages on the longest way to one; ``after`` are those on the way."""
    way = (*after, name)
    reads = [each for each in found[name] if each in found and each not in way]
    return 1 + max((_column(found, each, way) for each in reads), default=-1)


def _sources(found: Stages, name: str) -> set[str]:
    """Return the stages that one reads, and those that these read, and so on."""
    sources: set[str] = set()
    left = [name]
    while left:
        new = set(found.get(left.pop(), ())) - sources
        sources |= new
        left += new
    return sources


def _arrow(start: Box, end: Box) -> str:
    """Return a curve from the right of one box to the left of another."""
    x, y = start.x + _WIDTH, start.y + _HEIGHT // 2
    to_x, to_y = end.x - 6, end.y + _HEIGHT // 2
    half = (x + to_x) // 2
    return f"M{x},{y} C{half},{y} {half},{to_y} {to_x},{to_y}"
