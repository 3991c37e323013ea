"""Code of the user's: where it is found, and how its errors are told."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from common.custom.user_code import told
from tests.common.plans import toy
from tests.conftest import Workplace

HOSTILE = "custom:tests.hostile:EXPERIMENT"


@pytest.fixture(autouse=True)
def _own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])


@pytest.mark.parametrize("scheduling", [{}, {"multiprocess": True}], ids=["in process", "worker"])
def test_a_module_beside_the_plan_is_found(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, scheduling: dict[str, Any]
) -> None:
    folder = workplace.path / "study"
    folder.mkdir()
    (folder / "beside_the_plan.py").write_text(
        "from dataclasses import replace\n"
        "from tests import toy\n"
        "run = toy.run\n"
        "EXPERIMENT = replace(toy.EXPERIMENT, run='beside_the_plan:run')\n"
    )
    monkeypatch.delitem(sys.modules, "beside_the_plan", raising=False)
    plan = workplace.write_plan(
        "study/plan",
        experiment="custom:beside_the_plan:EXPERIMENT",
        configurations=[toy(epochs=1)],
        **scheduling,
    )
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0, outcome.err + outcome.out


def test_what_lies_beside_the_plan_hides_no_installed_package(workplace: Workplace) -> None:
    (workplace.path / "colorsys.py").write_text("raise RuntimeError('hidden')")
    plan = workplace.write_plan(experiment="custom:colorsys:X", configurations=[{}])
    assert "colorsys.py) has no 'X'" in workplace.run_plan(plan).err


def test_a_module_that_is_not_found_says_where_it_was_looked_for(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment="custom:mine.own:X", configurations=[{}])
    err = workplace.run_plan(plan).err
    assert "there is no module 'mine.own' in " in err
    assert f"{workplace.path}, the installed packages; put mine/own.py beside the plan" in err
    assert "PYTHONPATH" in err


def test_an_error_is_told_with_the_innermost_line_of_the_users_code() -> None:
    def fails() -> None:
        "a".encode("no such encoding")

    with pytest.raises(LookupError) as raised:
        fails()
    line = fails.__code__.co_firstlineno + 1
    assert told(raised.value) == (
        f"LookupError: unknown encoding: no such encoding ({__file__}, line {line})"
    )


def test_an_error_without_text_or_place_is_told_by_its_kind() -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert told(ValueError()) == "ValueError"
    assert told(Unprintable()).startswith("Unprintable: <exception str() failed>")


def test_an_error_with_a_long_text_is_told_in_short_and_logged_in_full(
    workplace: Workplace,
) -> None:
    plan = workplace.write_plan(
        experiment=HOSTILE, configurations=[{"base_config": {"act": "verbose"}}]
    )
    outcome = workplace.run_plan(plan)
    assert outcome.status == 1
    assert len(outcome.err) < 10_000
    (folder,) = workplace.folders()
    assert folder.status.stat().st_size < 50_000
    reason = folder.read_status()["reason"]
    assert reason.startswith("ValueError: seen: 0.123, ")
    assert "characters left out" in reason and " in all (" in reason
    assert folder.log.stat().st_size > 7_000_000
