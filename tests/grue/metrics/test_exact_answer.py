"""Answers found in texts, and compared with the right ones."""

from __future__ import annotations

from typing import Any

import pytest

from common.config.resolve import resolve
from grue.metrics.answers.comparison import agreement, are_equal
from grue.metrics.answers.extraction import find_answer
from grue.metrics.config import MetricConfig
from grue.rewards.config import RewardConfig
from tests.grue.judging import texts


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("2 + 3 = 5\n#### 5\nThat is all 9", "5"),
        ("#### 1\nno, #### 1,234", "1,234"),
        (r"so \boxed{\frac{1}{2}}, not 3", r"\frac{1}{2}"),
        (r"\boxed{1} and \boxed{2}", "2"),
        (r"\boxed{7} and \boxed{8", "7"),
        (r"an open box: \boxed{8", "8"),
        ("####  \n the answer is 6.", "6"),
        ("it is 12, or -7.50.", "-7.50"),
        ("10-3", "3"),
        ("x = −3", "−3"),
        ("from $1,234,567 on", "$1,234,567"),
        ("1234,567", "567"),
        ("half: 1/2", "1/2"),
        ("$.50", "$.50"),
        ("all 100%!", "100%"),
        ("none at all", None),
        ("", None),
    ],
)
def test_the_answer_of_a_text(text: str, answer: str | None) -> None:
    assert find_answer(text, ("marker", "boxed", "last_number")) == answer


def test_only_the_forms_asked_for_count() -> None:
    text = r"#### 1 \boxed{2} 3"
    assert find_answer(text, ("last_number",)) == "3"
    assert find_answer(text, ("boxed", "marker")) == "2"
    assert find_answer("3", ("marker", "boxed")) is None


@pytest.mark.parametrize(
    ("answer", "right", "is_equal"),
    [
        ("1,000", "$1000.00", True),
        ("1/2", "0.50", True),
        (r"\dfrac{1}{2}", ".5", True),
        ("2/4", "1/2", True),
        ("0.33", "1/3", False),
        ("−3", "-3", True),
        ("3", "-3", False),
        ("007", "7", True),
        ("1e3", "1000", False),
        ("50 %", "50", True),
        ("0.1", "0.10000000000000000001", False),
        ("Forty two.", "forty  two", True),
        ("1/0", "1/0", True),
        ("1/0", "2/0", False),
        ("9" * 6000, "9" * 6000, True),
        ("9" * 6000, "9" * 5999 + "8", False),
        ("1,23", "123", False),
    ],
)
def test_equal_answers(answer: str, right: str, is_equal: bool) -> None:
    assert are_equal(answer, right) is is_equal
    assert are_equal(right, answer) is is_equal
    assert (agreement(answer, right) == 1) is is_equal


@pytest.mark.parametrize(
    ("answer", "right", "share"),
    [("47", "57", 0.5), ("7", "57", 0.5), ("157", "57", 2 / 3), ("75", "57", 0),
     ("1,057", "57", 0.5), ("5", "", 0)],
)  # fmt: skip
def test_agreement_is_aligned_at_the_last_digit(answer: str, right: str, share: float) -> None:
    assert agreement(answer, right) == pytest.approx(share, abs=1e-15)


OUTPUTS = ["5+7=12", "13", r"\boxed{12}", "a dozen"]


@pytest.mark.parametrize(
    "references", [["12"], ["5+7=12"], ["5 and 7.\n#### 12"], [r"is \boxed{12}"], ["1", "12"]]
)
def test_outputs_are_compared_with_the_references_answers(references: list[str]) -> None:
    found = MetricConfig(id="exact_answer").build().scores(texts(OUTPUTS, [references] * 4))
    assert {name: scores.tolist() for name, scores in found.items()} == {
        "answer/accuracy": [1, 0, 1, 0],
        "answer/agreement": [1, 0.5, 1, 0],
        "answer/given": [1, 1, 1, 0],
    }


def test_accuracy_at_each_difficulty() -> None:
    known: list[dict[str, Any]] = [{"difficulty": 1}, {"difficulty": 3}, {"difficulty": 3}, {}]
    graded = texts(OUTPUTS, [["12"]] * 4, metadata=known)
    found = MetricConfig(id="exact_answer").build().corpus(graded)
    assert found == {
        "answer/accuracy": 0.5,
        "answer/agreement": 0.625,
        "answer/given": 0.75,
        "answer/accuracy_at_difficulty_1": 1,
        "answer/accuracy_at_difficulty_3": 0.5,
    }


@pytest.mark.parametrize(
    ("reward", "args", "values"),
    [
        ("exact_answer", {}, [1, 0, 1, 0]),
        ("exact_answer", {"graded": True}, [1, 0.5, 1, 0]),
        ("exact_answer", {"extract": ["boxed"]}, [0, 0, 1, 0]),
        ("exact_answer", {"pattern": "=(.*)"}, [1, 0, 0, 0]),
        ("exact_answer", {"pattern": "[a-z]+$"}, [0, 0, 0, 0]),
        ("answer_given", {"extract": ["boxed"]}, [0, 0, 1, 0]),
    ],
)
def test_rewards_of_answers(reward: str, args: dict[str, Any], values: list[float]) -> None:
    made = RewardConfig(id=reward, args=args).build()
    assert made.needs_references
    assert made(texts(OUTPUTS, [["#### 12"]] * 4)).tolist() == values


def test_a_reference_without_a_number_is_compared_as_a_whole() -> None:
    made = RewardConfig(id="exact_answer", args={"pattern": r"\(\w\)"}).build()
    assert made(texts(["it is (B)", "(a)"], [["(b)"], ["b"]])).tolist() == [1, 0]


def test_wrong_keys_are_named() -> None:
    def told(**args: Any) -> str:
        return str(resolve(RewardConfig, {"id": "exact_answer", "args": args})[1][0])

    assert "'args.pattern' = '(': is no regular expression" in told(pattern="(")
    assert "'args.extract'" in told(extract=[])
