"""Stages of a plan as a small graph: boxes, and an arrow from each stage to those that read it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from common.key_paths import merged
from common.plan.stages import is_reference
from common.run.folder import PlanFolder
from plots.report.runs import ReportRun
from plots.runs import json_object

Stages = Mapping[str, Sequence[str]]
"""Names of a plan's stages, each with those that it reads."""

Entry = Mapping[str, Any]
"""Configuration as the plan writes it."""

_WIDTH, _HEIGHT = 150, 30
_GAP_ACROSS, _GAP_DOWN = 50, 14
_LONGEST_NAME = 20


def stages(folder: PlanFolder, runs: Sequence[ReportRun] = ()) -> Stages:
    """Return the stages of a plan in order, named as in its index, each with those it reads.

    Of the plan's own ``base_config``, a stage has the keys that its runs have; all until one of
    ``runs`` has begun.
    """
    known = {run.stage: run.config for run in runs if run.config}
    plan = json_object(folder.plan)
    entries = plan.get("configurations", [])
    by_id = {entry["id"]: entry for entry in entries if entry.get("id")}
    found = {}
    for number, entry in enumerate(entries):
        name = entry.get("id") or f"configurations[{number}]"
        base = plan.get("base_config", {})
        values = merged({}, {key: base[key] for key in base if _is_known(key, known.get(name))})
        for layer in reversed([*_layers(entry, by_id)]):
            values = merged(values, layer.get("base_config", {}))
            values = merged(values, layer.get("options", {}))
        reads = dict.fromkeys(_references(values))
        found[name] = [each for each in reads if each in by_id and each != name]
    return found


def _is_known(key: str, config: Mapping[str, Any] | None) -> bool:
    return config is None or key.partition(".")[0] in config


def _references(value: Any) -> Iterator[str]:
    """Yield the stages to which a value, or a part of it, refers."""
    if isinstance(value, Mapping):
        value = [*value.values()]
    if isinstance(value, list):
        for part in value:
            yield from _references(part)
    elif isinstance(value, str) and is_reference(value):
        yield value[1:].partition(".")[0]


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
    rows: dict[int, int] = defaultdict(int)
    boxes: dict[str, Box] = {}
    for name, column in _columns(found).items():
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


def _columns(found: Stages) -> dict[str, int]:
    """Return the number of stages on the longest way to each."""
    columns: dict[str, int] = {}

    def column(name: str) -> int:
        if name not in columns:
            columns[name] = 0  # while it is on the way itself, in a ring
            reads = [each for each in found[name] if each in found]
            columns[name] = 1 + max(map(column, reads), default=-1)
        return columns[name]

    return {name: column(name) for name in found}


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
