"""The synthetic objectives."""

from __future__ import annotations

import pytest

from grue import metrics, rewards
from tests.grue.made_texts import made_texts

NUMBERS = {
    "1 2 3": 0.3,
    " ".join(map(str, range(1, 13))): 1.0,
    "5 3 9": 0.1,
    "one 2 three 4": 0.2,
    "1 2 2 3": 0.2,
    "nan 1 2": 0.1,
    "1, 2, 3": 0.1,
    "-inf 1e3 inf": 0.3,
    "": 0.0,
    "no number": 0.0,
}
DATES = {
    "on 2023-10-31.": 1.0,
    "12023-10-311": 1.0,
    "2023-1-31": 0.0,
    "31-10-2023": 0.0,
    "": 0.0,
}


@pytest.mark.parametrize(
    ("metric", "reward", "key", "args", "values"),
    [
        ("increasing_numbers", "increasing_numbers", "synthetic/increasing_numbers_in_text",
         {"min_tokens": 20}, NUMBERS),
        ("dates", "sentences_with_dates", "synthetic/dates_in_text", {}, DATES),
    ],
)  # fmt: skip
def test_metric_and_reward_have_the_known_values(metric, reward, key, args, values) -> None:
    metric_class, reward_class = metrics.find(metric), rewards.find(reward)
    texts = made_texts(list(values))
    measured = metric_class(metric_class.Args(**args))
    assert measured.scores(texts)[key].tolist() == list(values.values())
    assert measured.corpus(texts) == {key: pytest.approx(sum(values.values()) / len(values))}
    assert reward_class(reward_class.Args(**args))(texts).tolist() == list(values.values())
