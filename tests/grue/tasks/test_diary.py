"""The made-up diary: dates where they are asked for."""

from __future__ import annotations

import pytest

from grue import metrics
from grue.metrics.metric import NoArgs
from grue.texts import Texts
from tests.grue.tasks.conftest import samples


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_dates_come_as_often_as_asked(share: float) -> None:
    found = samples("diary", num_samples=800, share_with_date=share)
    entries = [sample.references[0] for sample in found]
    texts = Texts([""] * 800, entries, [()] * 800, [{}] * 800)
    scores = metrics.find("dates")(NoArgs()).scores(texts)
    assert scores["synthetic/dates_in_text"].mean() == pytest.approx(share, abs=0.05)


def test_splits_differ() -> None:
    entries = [
        {sample.references[0] for sample in samples("diary", split, num_samples=40)}
        for split in ("train", "val", "test")
    ]
    assert entries[0] != entries[1] != entries[2]
