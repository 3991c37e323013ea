"""GSM8K: questions with solutions, and a validation split that the data do not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from grue.rewards.config import RewardConfig
from tests.grue.judging import texts
from tests.grue.tasks.conftest import HubCalls, samples, write_jsonl

ROWS = [
    {
        "question": f"There are {i} birds, and two more come. How many are there?",
        "answer": f"There are {i} + 2 = <<{i}+2={i + 2}>>{i + 2} birds.\n#### {i + 2}",
    }
    for i in range(20)
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    write_jsonl(tmp_path / "test.jsonl", ROWS[:3])
    return tmp_path


def test_questions_are_asked_and_solutions_are_references(folder: Path) -> None:
    first, *others = samples("gsm8k", path=folder, prompt_suffix=" Answer after ####.")
    assert first.prompt == f"{ROWS[0]['question']} Answer after ####."
    assert first.references == ("There are 0 + 2 = 2 birds.\n#### 2",)
    marked, *_ = samples("gsm8k", path=folder, calculations=True)
    assert marked.references == (ROWS[0]["answer"],)
    reward = RewardConfig(id="exact_answer").build()
    answers = [f"it is {i}" for i in range(3, 3 + len(others))]
    assert reward(texts(answers, [sample.references for sample in others])).all()


def test_the_last_training_rows_are_held_out(folder: Path) -> None:
    splits = [samples("gsm8k", split, path=folder, held_out=0.25) for split in ("train", "val")]
    assert [len(split) for split in splits] == [15, 5]
    asked = [sample.prompt for split in splits for sample in split]
    assert asked == [row["question"] for row in ROWS]
    assert len(samples("gsm8k", "test", path=folder)) == 3
    assert samples("gsm8k", "val", path=folder, held_out=0.0) == []
    write_jsonl(folder / "validation.jsonl", ROWS[:2])
    assert len(samples("gsm8k", path=folder)) == 20
    assert len(samples("gsm8k", "val", path=folder)) == 2


def test_the_hub_is_asked_for_the_splits_that_it_has(hub: HubCalls) -> None:
    hub.rows["openai/gsm8k:main"] = ROWS
    for split in ("train", "val", "test"):
        samples("gsm8k", split, revision="v1")
    assert hub.asked == [("openai/gsm8k", {"name": "main", "revision": "v1", "split": split})
                         for split in ("train", "train", "test")]  # fmt: skip


@pytest.mark.parametrize("answer", ["It is 4.", "#### ", ""])
def test_a_row_without_an_answer_is_named(tmp_path: Path, answer: str) -> None:
    rows: list[dict[str, Any]] = [*ROWS[:2], {"question": "?", "answer": answer}]
    write_jsonl(tmp_path / "train.jsonl", rows)
    with pytest.raises(UserError, match="line 3, 'answer': needs the final answer after ####"):
        samples("gsm8k", path=tmp_path)
