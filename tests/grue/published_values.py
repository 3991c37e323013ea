"""The values of published configuration files, read from the table beside this module."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.key_paths import with_value

_TABLE = Path(__file__).with_name("published_values.txt")
_PART = re.compile(r"(\w+)(?:\((.*)\))?")
_ARGUMENT = re.compile(r'(\w+)=("[^"]*"|[^,]+)')

Values = dict[str, Any]
"""Values by dotted key; ``metrics`` holds the list of them."""


def published() -> dict[str, Values]:
    """The values of each file, by the name of its plan."""
    sections = _TABLE.read_text().split("\n[")[1:]
    return {name: values for section in sections for name, values in _files(section)}


def as_tree(values: Values) -> dict[str, Any]:
    """The published file's content."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        is_extraction = "evaluation.num_samples_per_input" in values
        block = "evaluation" if is_extraction else "train_evaluation"
        tree = with_value(tree, f"{block}.metrics" if key == "metrics" else key, value)
    return tree


def _files(section: str) -> Iterator[tuple[str, Values]]:
    heading, *rows = section.strip().splitlines()
    pattern, _, names = heading.partition("] ")
    columns = names.split(" | ")
    found: dict[str, Values] = {column: {} for column in columns}
    for row in rows:
        if row.startswith("metrics "):
            files, _, metrics = row.removeprefix("metrics ").partition(": ")
            for column in files.split(" "):
                found[column]["metrics"] = [_part(metric) for metric in metrics.split("; ")]
            continue
        key, *cells = row.split(" | ")
        assert len(cells) == len(columns), row
        by_column = dict(zip(columns, cells, strict=True))
        for column, cell in by_column.items():
            value = by_column["ppo"] if cell == "=" else cell
            if value != "-":
                found[column][key] = json.loads(value)
    for column, values in found.items():
        yield pattern.replace("*", column), values


def _part(text: str) -> dict[str, Any]:
    """A metric such as ``rouge(use_single_ref=false)``."""
    match = _PART.fullmatch(text)
    assert match is not None, text
    arguments = _ARGUMENT.findall(match[2] or "")
    return {"id": match[1], "args": {key: json.loads(value) for key, value in arguments}}
