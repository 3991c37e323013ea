"""Tests whose tools are missing are skipped, or fail where the tools are required."""

from __future__ import annotations

import pytest

from tests import tools

NOTHING = "no_such_module_anywhere"


@pytest.fixture
def required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_REQUIRED", frozenset({tools.PACKAGES, "bell"}))


def is_skipped(mark: pytest.MarkDecorator) -> bool:
    return bool(mark.args[0])


@pytest.mark.usefixtures("required")
def test_what_is_required_is_not_skipped() -> None:
    assert not is_skipped(tools.needs_package(NOTHING))
    assert not is_skipped(tools.needs_program("bell", NOTHING))
    assert is_skipped(tools.needs_program("whistle", NOTHING))
    with pytest.raises(ModuleNotFoundError):
        tools.imported(NOTHING)
    with pytest.raises(pytest.fail.Exception):
        tools.skip_without("bell", "it is broken")
    tools.skip_without("bell", None)


def test_what_is_missing_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "_REQUIRED", frozenset())
    assert is_skipped(tools.needs_package(NOTHING))
    assert is_skipped(tools.needs_program("bell", NOTHING))
    assert not is_skipped(tools.needs_program(NOTHING, "bash"))
    for skips in (lambda: tools.imported(NOTHING), lambda: tools.skip_without("bell", "broken")):
        with pytest.raises(pytest.skip.Exception):
            skips()
