"""The report that a plan leaves when it ends."""

from __future__ import annotations

import pytest

from plots.report import page
from tests.conftest import TOY, Workplace

KEYS = {"experiment": TOY, "report": True, "configurations": [{"base_config": {"epochs": 1}}]}


def test_a_plan_ends_with_its_report_which_is_written_when_something_is_new(
    workplace: Workplace,
) -> None:
    plan = workplace.write_plan(**KEYS)
    report = workplace.path / "outputs/exps/plan/report.html"
    assert f"{report.relative_to(workplace.path)}\n" in workplace.run_plan(plan).out
    text, written = report.read_text(), report.stat().st_mtime_ns
    assert '<span class="state done">done</span>' in text

    assert "report.html" not in workplace.run_plan(plan).out
    assert report.stat().st_mtime_ns == written
    report.unlink()
    assert "report.html" in workplace.run_plan(plan).out
    written = report.stat().st_mtime_ns
    workplace.run_plan(plan, "--fresh")
    assert report.stat().st_mtime_ns > written


def test_a_report_that_fails_does_not_change_how_the_plan_ends(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def render(*_: object) -> str:
        raise ValueError("no such thing")

    monkeypatch.setattr(page, "render", render)
    found = workplace.run_plan(workplace.write_plan(**KEYS))
    assert found.status == 0
    assert "the report could not be written: no such thing" in found.err


def test_a_plan_may_do_without(workplace: Workplace) -> None:
    workplace.run_plan(workplace.write_plan(**{**KEYS, "report": False}))
    assert not (workplace.path / "outputs/exps/plan/report.html").exists()
