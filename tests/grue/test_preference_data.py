"""Rows of preference data in all their forms, and what is wrong with others."""

from __future__ import annotations

from typing import Any

import pytest

from common.errors import UserError
from grue.tasks.choices.rows import Choice, choice_of, choices_of_rows
from grue.tasks.task import Sample

PROMPT = {"role": "user", "content": "Hi?"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in ("Hello!", "Go."))


def decode(ids: Any) -> str:
    return "".join("abcdef"[i] for i in ids if i < 6)


def read(*rows: dict[str, Any], scale: tuple[float, float] | None = None) -> list[Choice]:
    return choices_of_rows(rows, "data", decode=decode, scale=scale)


@pytest.mark.parametrize(
    ("row", "choice"),
    [
        ({"prompt": "p", "chosen": "c", "rejected": "r"}, Choice("p", ("c", "r"), 0)),
        (
            {"prompt": "Hi?", "chosen": [PROMPT, GOOD], "rejected": [PROMPT, BAD],
             "chosen_rating": 2.8, "rejected_rating": 1.6},
            Choice("Hi?", ("Hello!", "Go."), 0, (2.8, 1.6)),
        ),
        (
            {"prompt": [PROMPT, GOOD, PROMPT], "chosen": [GOOD], "rejected": [BAD]},
            Choice("Hi? Hello! Hi?", ("Hello!", "Go."), 0),
        ),
        (
            {"query": [0, 1, 9, 9], "sample0": [2, 9], "sample1": [3, 3], "sample2": [4],
             "sample3": [5], "best": 3},
            Choice("ab", ("c", "dd", "e", "f"), 3),
        ),
        (
            {"prompt": "p", "samples": ["a", "b"], "best": 1, "ratings": [1, 2.5]},
            Choice("p", ("a", "b"), 1, (1, 2.5)),
        ),
        (
            {"query": "q", "sample0": "a", "sample1": "b", "difference": -0.5},
            Choice("q", ("a", "b"), difference=-0.5),
        ),
        ({"query": "q", "sample": "a", "score": 3}, Choice("q", ("a",), ratings=(3,))),
    ],
)  # fmt: skip
def test_rows_are_choices(row: dict[str, Any], choice: Choice) -> None:
    assert read(row) == [choice]
    sample = choice.as_sample("train_0")
    assert choice_of(sample) == choice
    assert sample.references == (() if choice.best is None else (choice.responses[choice.best],))


FOUR = {"query": "q", "sample0": "a", "sample1": "b", "sample2": "c", "sample3": "d", "best": 0}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in FOUR.items() if name != key}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([FOUR, without("sample2")], "data, row 2: 'sample2' is missing; found query, sample0"),
        ([FOUR, without("sample3")], "row 2: has 3 samples, the first row has 4"),
        ([FOUR, {**FOUR, "sample4": "e"}], "row 2: has 5 samples, the first row has 4"),
        ([{**FOUR, "best": 4}], "row 1: 'best' = 4: must be one of 0 to 3, the positions of the 4"),
        ([{**FOUR, "best": -1}], "'best' = -1: must be"),
        ([{**FOUR, "best": 1.0}], "'best' = 1.0: must be"),
        ([{**FOUR, "sample1": 7}], "expected a text, a list of token ids or .*, found 7"),
        ([{"query": "q", "best": 0}], "'sample0' is missing"),
        ([{"query": "q", "best": 0, "samples": ["a"]}], "has 1 samples; needs at least 2"),
        ([{"query": "q", "best": 0, "samples": "ab"}], "'samples' = 'ab': must be a list"),
        ([{**FOUR, "ratings": [1, 2]}], "'ratings': there are 2 for 4 samples"),
        ([{**FOUR, "ratings": 5}], "row 1: 'ratings' = 5: must be a list"),
        ([{"query": "q", "sample": "a", "score": float("nan")}], "'ratings' = nan: must be a fini"),
        ([{**FOUR, "best": None}], "needs a prompt with chosen and .*; found query, sample0"),
        ([without("best") | {"difference": 1}], "has 4 samples; needs 2"),
        ([without("query")], "needs the column 'prompt' or 'query'; found sample0"),
        ([{"prompt": "p", "answer": "a"}], "needs a prompt with chosen and .*; found prompt, answ"),
    ],
)
def test_wrong_rows_are_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(*rows)


def test_ratings_outside_the_scale_are_refused() -> None:
    row = {"query": "q", "sample": "a", "score": 11}
    with pytest.raises(UserError, match=r"row 2: the rating 11 is outside 'rating_scale' = \[1, 1"):
        read(row | {"score": 1}, row, scale=(1, 10))
    assert read(row, scale=(1, 11))


def test_samples_without_responses_are_no_choices() -> None:
    with pytest.raises(UserError, match="'x' has no 'responses' in its metadata; choose a task"):
        choice_of(Sample("x", "p", ()))
