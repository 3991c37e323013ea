"""The made-up arithmetic problems: right, of the levels asked for, and each in one split alone."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

import pytest

from common.config.resolve import resolve
from grue.rewards.config import RewardConfig
from grue.tasks.config import TaskConfig
from grue.tasks.task import Sample
from tests.grue.judging import texts
from tests.grue.tasks.conftest import samples

ALL = {"operations": ["+", "-", "*"], "digits": [1, 2, 5]}


def operands(sample: Sample) -> tuple[int, str, int]:
    first, operation, second = re.fullmatch(r"(\d+)([-+*])(\d+)=", sample.prompt).groups()
    return int(first), operation, int(second)


def result(equation: str) -> int:
    first, operation, second = re.fullmatch(r"(\d+)([-+*])(\d+)", equation).groups()
    one, two = int(first), int(second)
    return {"+": one + two, "-": one - two, "*": one * two}[operation]


def test_references_are_right_and_levels_are_digits_of_the_larger_operand() -> None:
    found = samples("arithmetic", num_samples=600, **ALL)
    assert Counter(sample.metadata["difficulty"] for sample in found) == {1: 200, 2: 200, 5: 200}
    for sample in found:
        first, operation, second = operands(sample)
        assert len(str(max(first, second))) == sample.metadata["difficulty"]
        assert sample.references == (str(result(f"{first}{operation}{second}")),)
        assert int(sample.references[0]) >= 0
    assert {operands(sample)[1] for sample in found} == {"+", "-", "*"}
    assert any(operands(sample)[0] < operands(sample)[2] for sample in found)


def test_working_leads_to_the_answer_step_by_step() -> None:
    found = samples("arithmetic", num_samples=300, working=True, **ALL)
    for sample in found:
        equations = [step.split("=") for step in sample.references[0].split(", ")]
        assert [result(left) for left, _ in equations] == [int(right) for _, right in equations]
        first, operation, second = operands(sample)
        assert equations[-1][1] == str(result(f"{first}{operation}{second}"))
    (one,) = (s for s in samples("arithmetic", num_samples=2000, working=True, digits=[2])
              if s.prompt == "35+12=")  # fmt: skip
    assert one.references == ("35+10=45, 45+2=47",)
    reward = RewardConfig(id="exact_answer").build()
    answers = [str(result(sample.prompt.removesuffix("="))) for sample in found]
    assert reward(texts(answers, [sample.references for sample in found])).all()


@pytest.mark.parametrize("operation", ["+", "-", "*"])
def test_no_problem_is_in_two_splits_whatever_the_seed(operation: str) -> None:
    found: dict[str, set[frozenset[int]]] = {}
    for split in ("train", "val", "test"):
        for seed in (0, 1):
            made = samples("arithmetic", split, num_samples=800, digits=[1], seed=seed,
                           operations=[operation])  # fmt: skip
            problems = {frozenset((first, second)) for first, _, second in map(operands, made)}
            found.setdefault(split, set()).update(problems)
    assert all(found.values())
    assert sum(map(len, found.values())) == len(set.union(*found.values()))


def test_shares_mix_the_levels_exactly() -> None:
    for split, count in (("train", 1000), ("test", 250)):
        made = samples("arithmetic", split, num_samples=1000, digits=[1, 3, 4], shares=[5, 1, 4])
        levels = Counter(sample.metadata["difficulty"] for sample in made)
        assert levels == {1: count * Fraction(5, 10), 3: count // 10, 4: count * Fraction(4, 10)}
        assert [sample.metadata["difficulty"] for sample in made] != sorted(levels.elements())


def test_guessed_references_are_those_of_other_problems_and_all_else_is_as_without() -> None:
    levels = {"num_samples": 1000, "digits": [2, 3], "reference_prefix": " "}
    plain = samples("arithmetic", **levels)
    made = samples("arithmetic", guessed=[0, 0.5], **levels)
    assert [(one.prompt, one.metadata) for one in made] == [(o.prompt, o.metadata) for o in plain]
    others = [one for one, right in zip(made, plain, strict=True) if one != right]
    assert 245 <= len(others) <= 250  # one of a thousand guesses is right
    assert {one.metadata["difficulty"] for one in others} == {3}
    assert all(100 <= int(one.references[0]) <= 1998 for one in others)
    assert len({one.references for one in others}) > 200
    val = samples("arithmetic", "val", guessed=[1, 1], **levels)
    assert val == samples("arithmetic", "val", **levels)


def test_seeds_differ_and_repeat() -> None:
    assert samples("arithmetic", seed=1) == samples("arithmetic", seed=1) != samples("arithmetic")


def test_text_stands_around_a_problem() -> None:
    (made,) = samples("arithmetic", num_samples=1, prompt_prefix="What is ", prompt_suffix="?")
    assert re.fullmatch(r"What is \d+\+\d+\?", made.prompt)
    (plain,) = samples("arithmetic", num_samples=1, working=True)
    (apart,) = samples("arithmetic", num_samples=1, working=True, reference_prefix=" ")
    assert apart.references == (f" {plain.references[0]}",)


@pytest.mark.parametrize("key", ["shares", "guessed"])
def test_shares_of_other_levels_are_refused(key: str) -> None:
    args = {"digits": [1, 2], key: [1.0]}
    _, problems = resolve(TaskConfig, {"id": "arithmetic", "args": args})
    assert f"'args.{key}' = [1.0]: has 1 entries for the 2 levels" in str(problems[0])
