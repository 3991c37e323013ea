"""Settings of modules that may never be loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.process.when_loaded import when_loaded
from tests.conftest import PROJECT


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that nothing has loaded."""
    (tmp_path / "large_module.py").write_text("value = 'its own'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "large_module"
    sys.modules.pop("large_module", None)


def test_a_setting_is_made_once_the_module_is_loaded(module: str) -> None:
    made: list[str] = []

    def _set() -> None:
        import large_module

        made.append(large_module.value)
        large_module.value = "set"

    when_loaded(module, "one", lambda: made.append("replaced"))
    when_loaded(module, "one", _set)
    when_loaded(module, "two", lambda: made.append("two"))
    assert made == []
    import large_module  # type: ignore[import-not-found]

    assert (made, large_module.value) == (["its own", "two"], "set")
    when_loaded(module, "two", lambda: made.append("at once"))
    assert made[2:] == ["at once"]


def test_to_look_for_the_module_is_not_to_load_it(module: str) -> None:
    import importlib.util

    made: list[str] = []
    when_loaded(module, "one", lambda: made.append("one"))
    assert importlib.util.find_spec(module) is not None
    assert made == []
    import large_module  # noqa: F401

    assert made == ["one"]


def test_torch_draws_the_same_whenever_a_run_loads_it(tmp_path: Path) -> None:
    code = """
import sys
if sys.argv[1] == "before":
    import numpy, torch
from common.config.run import RunConfig
from common.runner.scheduling.rank import begin_computing
from common.training.determinism import set_numerics
set_numerics(RunConfig())
begin_computing(7, 1)
assert ("torch" in sys.modules) == (sys.argv[1] == "before")
import numpy, random, torch
print(torch.rand(2), numpy.random.rand(2), random.random(), torch.get_num_threads())
"""
    found = {
        subprocess.run([sys.executable, "-c", code, when], cwd=PROJECT, text=True, check=True,
                       capture_output=True).stdout
        for when in ("before", "later")
    }  # fmt: skip
    assert len(found) == 1
