"""Source files of the user's parts are part of what a run is."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from common.custom.sources import modules_named, source_files
from common.custom.user_code import is_of_the_project
from common.run.folder import RunFolder
from tests.common.plans import index, toy
from tests.conftest import PROJECT, Outcome, Workplace

_MINE = """\
from dataclasses import replace
from tests import toy
from steps_of_mine import FACTOR
EXPERIMENT = replace(toy.EXPERIMENT, run="parts_of_mine:run")
def run(config, context):
    toy.run(config, context)
    return FACTOR
"""


class Study:
    """A plan of two stages, the second of which reads what the user's experiment left."""

    def __init__(self, workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workplace = workplace
        self._monkeypatch = monkeypatch
        self.write("parts_of_mine.py", _MINE)
        self.write("steps_of_mine.py", "FACTOR = 2.0\n")
        own = "custom:parts_of_mine:EXPERIMENT"
        first = {"id": "first", "experiment": own, **toy(epochs=1, experiment_name="first")}
        second = toy(epochs=1, experiment_name="second", start="@first.checkpoint")
        third = {"id": "third", **toy(epochs=1, experiment_name="third")}
        self.plan = workplace.write_plan(
            experiment="custom:tests.toy:EXPERIMENT", configurations=[first, second, third]
        )

    def write(self, name: str, text: str) -> Path:
        path = self.workplace.path / name
        path.write_text(text)
        return path

    def run(self, *arguments: str) -> Outcome:
        """Runs the plan as a new process would: with the files as they are now."""
        for name in ("parts_of_mine", "steps_of_mine"):
            self._monkeypatch.delitem(sys.modules, name, raising=False)
        return self.workplace.run_plan(self.plan, *arguments)

    def folders(self, name: str) -> list[RunFolder]:
        return [one for one in self.workplace.folders() if one.path.name.startswith(f"{name}-")]


@pytest.fixture
def study(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Study:
    monkeypatch.setattr(sys, "path", [*sys.path, str(workplace.path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Study(workplace, monkeypatch)


def test_runs_whose_source_has_changed_are_made_again(study: Study) -> None:
    assert study.run().status == 0
    assert study.run("--dry_run").out.count("skipped (done)") == 3
    before = index(study.workplace)
    study.write("steps_of_mine.py", "FACTOR = 3.0\n")  # which parts_of_mine.py imports
    (made,) = study.folders("first")
    told = f"steps_of_mine.py has changed since {made.path.name}, second-"
    assert told in study.run("--status").out
    dry = study.run("--dry_run").out
    assert told in dry
    assert (dry.count("  made again\n"), dry.count("skipped (done)")) == (2, 1)
    outcome = study.run()
    assert outcome.status == 0
    assert told in outcome.err
    after = index(study.workplace)
    changed = [name for name in after if after[name] != before[name]]
    assert changed == ["first", "second"]
    assert [float(table["first"]["score"]) for table in (before, after)] == [2.0, 3.0]
    # What was made with the earlier file is still there, and found again with it.
    study.write("steps_of_mine.py", "FACTOR = 2.0\n")
    assert study.run("--dry_run").out.count("skipped (done)") == 3
    assert len(study.folders("first")) == 2


def test_a_file_that_changes_before_it_is_imported_fails_the_run(study: Study) -> None:
    late = _MINE.replace("from steps_of_mine import FACTOR\n", "from pathlib import Path\n")
    late = late.replace("return", "from steps_of_mine import FACTOR; return")
    late = late.replace("run=", "preflight='parts_of_mine:check', run=")
    check = "    Path('steps_of_mine.py').write_text('FACTOR = 1.0')\n    return []\n"
    study.write("parts_of_mine.py", f"{late}def check(runs):\n{check}")
    assert study.run().status == 1
    (folder,) = study.folders("first")
    assert "changed since the plan was read: steps_of_mine.py" in folder.read_status()["reason"]


def _as_before(folder: RunFolder, former: str) -> None:
    """Makes the folder what it was before sources counted."""
    status = folder.read_status()
    fingerprint = status.pop("config_fingerprint", status["fingerprint"])
    status.pop("sources", None)
    folder.status.write_text(json.dumps({**status, "fingerprint": fingerprint}))
    folder.path.rename(folder.path.with_name(f"{former}-{fingerprint[:8]}"))


@pytest.mark.parametrize("edited", [False, True])
def test_folders_from_before_are_known_unless_a_file_is_newer(study: Study, edited: bool) -> None:
    for name in ("parts_of_mine.py", "steps_of_mine.py"):
        os.utime(study.workplace.path / name, (1e9, 1e9))
    assert study.run().status == 0
    for name in ("first", "second", "third"):
        (folder,) = study.folders(name)
        _as_before(folder, name)
    if edited:
        os.utime(study.workplace.path / "steps_of_mine.py")
    dry = study.run("--dry_run").out
    assert dry.count("skipped (done)") == (1 if edited else 3)
    assert dry.count("  made again\n") == (2 if edited else 0)
    assert ("steps_of_mine.py is newer than first-" in dry) == edited


def test_an_index_from_before_lists_runs_of_the_plan(study: Study) -> None:
    for name in ("parts_of_mine.py", "steps_of_mine.py"):
        os.utime(study.workplace.path / name, (1e9, 1e9))
    assert study.run().status == 0
    index = study.folders("first")[0].path.parent / "index.csv"
    for name in ("first", "second", "third"):
        (folder,) = study.folders(name)
        status = folder.read_status()
        former = status.get("config_fingerprint", status["fingerprint"])
        text = index.read_text().replace(folder.path.name, f"{name}-{former[:8]}")
        index.write_text(text.replace(status["fingerprint"], former))
        _as_before(folder, name)
    assert "does not make" not in study.run().err


def test_runs_without_parts_of_the_users_record_no_sources(workplace: Workplace) -> None:
    from tests.conftest import TINY_DIGITS

    plan = workplace.write_plan(
        experiment="sft_vs_rft", configurations=[{"base_config": {**TINY_DIGITS, "epochs": 1}}]
    )
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    assert folder.read_status().keys().isdisjoint({"sources", "config_fingerprint"})


def test_a_folder_that_does_not_say_whose_it_is_is_not_done(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment="custom:tests.toy:EXPERIMENT", configurations=[toy(epochs=1)]
    )
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    status: dict[str, Any] = folder.read_status()
    del status["fingerprint"]
    folder.status.write_text(json.dumps(status))
    assert "continued" in workplace.run_plan(plan, "--dry_run").out


def test_what_a_part_imports_is_found_without_executing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "lab_of_mine"
    (package / "inner").mkdir(parents=True)
    fails = "raise RuntimeError('executed')\n"
    files = {
        "lab_of_mine/__init__.py": "",
        "lab_of_mine/parts.py": "from . import near\nfrom .inner.far import f\nimport torch, os\n"
        "from grue.texts import Texts\ndef g():\n    import beside_of_mine\n",
        "lab_of_mine/near.py": "from lab_of_mine import parts\n",  # a ring
        "lab_of_mine/inner/far.py": "from ..other import x\n",  # a folder without __init__.py
        "lab_of_mine/other.py": "this is no Python\n",
        "lab_of_mine/unused.py": fails,
        "beside_of_mine.py": fails,
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = source_files("lab_of_mine.parts")
    assert {file.name: file.path for file in found} == {
        name: tmp_path / name for name in files if name != "lab_of_mine/unused.py"
    }


def test_parts_are_found_wherever_a_configuration_names_them() -> None:
    values = {"alg": [{"id": "custom:x.y:Z"}], "shaping_fn": "custom:f:g", "prefix": "custom: a b"}
    assert list(modules_named(values)) == ["x.y", "f"]


def test_the_project_is_known_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(PROJECT)
    assert is_of_the_project(tmp_path / "link/grue/texts.py")
    assert not is_of_the_project(tmp_path / "mine.py")


def test_of_an_installed_part_its_own_module_counts_alone() -> None:
    (found,) = source_files("huggingface_hub.errors")
    assert found.name == "huggingface_hub/errors.py"
    assert source_files("grue.rewards.metric_rewards") == source_files("json.decoder") == []
