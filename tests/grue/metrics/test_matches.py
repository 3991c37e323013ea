"""Matches of a pattern, as metric and as reward."""

from __future__ import annotations

import pytest

from common.config.resolve import resolve
from grue.metrics.config import MetricConfig
from grue.rewards.config import RewardConfig
from tests.grue.judging import texts


def test_matches_are_counted() -> None:
    keys = {"id": "matches", "args": {"pattern": "an"}}
    outputs = texts(["banana", "", "an an", "Ana"])
    (found,) = MetricConfig(**keys).build().scores(outputs).values()
    assert found.tolist() == [2, 0, 2, 0]
    assert RewardConfig(**keys).build()(outputs).tolist() == found.tolist()


def test_no_pattern_is_refused() -> None:
    _, problems = resolve(MetricConfig, {"id": "matches", "args": {"pattern": "a("}})
    with pytest.raises(AssertionError, match=r"'args.pattern' = 'a\(': is no regular expression"):
        raise AssertionError(str(problems[0]))
