"""Tasks built as a configuration builds them, on made-up local files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from grue.tasks.config import TaskConfig
from grue.tasks.task import Sample, Split

Rows = Sequence[dict[str, Any]]


def samples(name: str, split: Split = "train", **args: Any) -> list[Sample]:
    args = {key: str(value) if isinstance(value, Path) else value for key, value in args.items()}
    found: list[Sample] = TaskConfig(id=name, args=args).build().samples(split)
    return found


def parts(found: Sequence[Sample]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Id, prompt and references."""
    return [(sample.id, sample.prompt, sample.references) for sample in found]


def write_jsonl(file: Path, rows: Rows) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


class HubCalls:
    """What `datasets.load_dataset` was asked for, and the rows that it gives."""

    def __init__(self) -> None:
        self.rows: dict[str, Rows] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def load_dataset(self, name: str, /, **options: Any) -> Any:
        import datasets

        self.asked.append((name, options))
        known = f"{name}:{options['name']}" if "name" in options else name
        if known not in self.rows:
            raise ConnectionError(f"no {known}")
        return datasets.Dataset.from_list(list(self.rows[known]))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> HubCalls:
    import datasets

    calls = HubCalls()
    monkeypatch.setattr(datasets, "load_dataset", calls.load_dataset)
    return calls
