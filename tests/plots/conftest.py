from __future__ import annotations

import pytest

from common.run.folder import write_table
from plots import canvas


@pytest.fixture
def drawn(monkeypatch):
    """The figures drawn during the test, the last one first; of their files, only the CSV."""
    figures = []

    def keep(figure, points, stem):
        figures.insert(0, figure)
        write_table(stem.with_suffix(".csv"), points)
        return [stem.with_suffix(".csv")]

    monkeypatch.setattr(canvas, "save", keep)
    return figures
