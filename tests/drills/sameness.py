"""Whether two folders of a plan hold the same results, to the bit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from common.run.folder import read_json_lines

_TOLD_OF_ATTEMPTS = ("status.json", "provenance.json", "log.txt")
_BY_TIME = ("previous.pt", "training_args.bin", "files.json")
"""Files whose content depends on when they, or files whose hashes they hold, were written."""


def differences(ours: Path, theirs: Path) -> list[str]:
    """The paths of files that differ between two folders of a plan, or are in one of them alone."""
    return sorted(_differences(ours, theirs))


def _differences(ours: Path, theirs: Path) -> Iterator[str]:
    one, other = _files(ours), _files(theirs)
    for name in one.keys() | other.keys():
        if name not in one or name not in other:
            yield f"{name}: only in {ours if name in one else theirs}"
        elif not _equal(_content(one[name], ours), _content(other[name], theirs)):
            yield name


def _files(folder: Path) -> dict[str, Path]:
    """The files of all runs that hold results, by their names in the plan's folder."""
    return {
        str(path.relative_to(folder)): path
        for path in folder.glob("*/**/*")
        if path.is_file() and not _tells_of_attempts(path.name) and path.name not in _BY_TIME
    }


def _tells_of_attempts(name: str) -> bool:
    return name in _TOLD_OF_ATTEMPTS or name.startswith(".lease-")


def _content(path: Path, plan_folder: Path) -> Any:
    """What stands in the file, without times."""
    if path.suffix == ".jsonl":
        return _without_times(read_json_lines(path))
    if path.suffix in (".pt", ".pth"):
        return _without_times(torch.load(path, weights_only=False))
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_csv()
    if path.suffix == ".json":
        return _without_times(json.loads(path.read_text().replace(str(plan_folder), "")))
    return path.read_bytes()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_times(part) for key, part in value.items() if "seconds" not in str(key)
        }
    return [_without_times(part) for part in value] if isinstance(value, (list, tuple)) else value


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are equal; numbers that are not numbers equal each other."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.numpy().tobytes() == other.numpy().tobytes()
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return repr(one) == repr(other)
