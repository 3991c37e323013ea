"""Answers compared by math-verify; a stand-in takes its place where it is not installed."""

from __future__ import annotations

import logging
import re
import sys
from types import ModuleType
from typing import Any

import pytest

from common.packages import is_installed
from grue.metrics.config import MetricConfig
from grue.rewards.config import RewardConfig
from tests.grue.judging import texts

OUTPUTS = ["so 12", r"\boxed{12}", "13", "none"]


def parse(text: str, parsing_timeout: int) -> list[int]:
    """The last number of a text, as the package finds the answer."""
    assert parsing_timeout == 3
    return [int(number) for number in re.findall(r"\d+", text)[-1:]]


def verify(gold: list[int], answer: list[int], timeout_seconds: int) -> bool:
    assert timeout_seconds == 3
    return bool(gold) and gold == answer


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    made = ModuleType("math_verify")
    made.parse, made.verify = parse, verify  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "math_verify", made)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    "references", [["12"], ["#### 12\nof 20"], [r"\boxed{12} of 20"], ["1", "12"]]
)
def test_an_output_is_right_for_any_reference(references: list[str]) -> None:
    keys: dict[str, Any] = {"id": "math_verify", "args": {"timeout": 3}}
    outputs = texts(OUTPUTS, [references] * 4)
    assert MetricConfig(**keys).build().scores(outputs)["answer/verified"].tolist() == [1, 1, 0, 0]
    assert RewardConfig(**keys).build()(outputs).tolist() == [1, 1, 0, 0]


@pytest.mark.usefixtures("package")
def test_a_reference_that_cannot_be_read_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    made = RewardConfig(id="math_verify", args={"timeout": 3}).build()
    with caplog.at_level(logging.WARNING):
        assert made(texts(OUTPUTS, [["a dozen"]] * 4)).tolist() == [0] * 4
    assert caplog.text.count("no expression in the answer 'a dozen'") == 1


def test_a_lacking_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.packages.is_installed", lambda _: False)
    (problem,) = RewardConfig(id="math_verify").missing()
    assert str(problem).startswith(
        "'id' = 'math_verify': needs the package 'math-verify[antlr4_13_2]': "
    )


@pytest.mark.skipif(not is_installed("math_verify"), reason="the package is not installed")
def test_the_package_itself() -> None:
    pairs = [
        (r"$2\sqrt2$", r"\sqrt{8}", 1),
        ("it is $1+x^2$", "x^2+1", 1),
        (r"\boxed{0.5}", "#### 1/2", 1),
        ("43", "42", 0),
        ("", "42", 0),
    ]
    outputs, references, right = zip(*pairs, strict=True)
    made = RewardConfig(id="math_verify").build()
    assert made(texts(outputs, [[text] for text in references])).tolist() == list(right)
