"""Plans that are wrong in every way are told of in one message, soon, and nothing is written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.tools import imported

imported("hypothesis")

from tests.drills.fuzzing import check, fuzz  # noqa: E402


@pytest.fixture(autouse=True)
def _no_bytecode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


def test_mutated_plans_are_answered(tmp_path: Path) -> None:
    counts = fuzz(tmp_path, 150)
    assert sum(counts.values()) == 150
    assert min(counts[0], counts[2]) > 0


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("open('left', 'w')", "open left"),
        ("import os; os.mkdir('left')", "os.mkdir"),
        ("import time; [0 for _ in iter(lambda: time.process_time() < end, False)]", " s"),
        ("import sys; print('Traceback', file=sys.stderr)", "Traceback"),
    ],
)
def test_the_check_finds_what_must_not_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, found: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tests.drills.fuzzing.LONGEST", 0.5)
    name = f"part_{abs(hash(module))}"
    (tmp_path / f"{name}.py").write_text(
        f"import time; end = time.process_time() + 0.6\n{module}\nfrom tests.toy import EXPERIMENT"
    )
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"experiment": f"custom:{name}:EXPERIMENT", "configurations": [{}]}))
    with pytest.raises(AssertionError, match=found):
        check(plan)
