"""Preferences of two sources, mixed prompt by prompt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.config.resolve import resolve
from common.errors import UserError
from grue.tasks.choices.rows import choice_of
from grue.tasks.config import TaskConfig

N = 8


def source(path: Path, word: str, prompts: list[str]) -> dict[str, Any]:
    """A task of pairs whose chosen responses begin with a word."""
    rows = [
        {"prompt": prompt, "chosen": f"{word} {number}", "rejected": "no"}
        for number, prompt in enumerate(prompts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"id": "preferences", "args": {"path": str(path)}}


def chosen(first: dict[str, Any], second: dict[str, Any], share: float) -> list[str]:
    args = {"first": first, "second": second, "share": share}
    config, problems = resolve(TaskConfig, {"id": "mixed_preferences", "args": args})
    assert config is not None, problems
    samples = config.build().samples("train")
    return [choice_of(sample).responses[0] for sample in samples]


def test_the_first_of_a_permutation_come_from_the_first_source(tmp_path: Path) -> None:
    prompts = [f"prompt {number}" for number in range(N)]
    both = source(tmp_path / "a.jsonl", "on", prompts), source(tmp_path / "b.jsonl", "off", prompts)
    order = np.random.RandomState(182).permutation(N)
    for share in (0.0, 0.4, 1.0):
        own = set(order[: int(share * N)])
        expected = [f"{'on' if row in own else 'off'} {row}" for row in range(N)]
        assert chosen(*both, share) == expected


def test_sources_are_aligned_by_prompts_of_which_one_may_lack_some(tmp_path: Path) -> None:
    first = source(tmp_path / "a.jsonl", "on", ["c", "a", "a"])
    second = source(tmp_path / "b.jsonl", "off", ["a", "b", "c", "a", "a"])
    assert chosen(first, second, 1.0) == ["on 1", "on 0", "on 2"]
    assert chosen(first, second, 0.0) == ["off 0", "off 2", "off 3"]


def test_sources_without_a_common_prompt_are_refused(tmp_path: Path) -> None:
    first, second = (source(tmp_path / f"{name}.jsonl", name, [name]) for name in "ab")
    with pytest.raises(UserError, match="share no prompt of the split 'train'"):
        chosen(first, second, 0.5)
