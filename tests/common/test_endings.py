"""Whatever user code does, runs end with a true status, and so does the program."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from common.runner.scheduling.executor import Executor
from common.runner.scheduling.executors import executor_of
from tests.conftest import Workplace
from tests.hostile import children_left

HOSTILE = "custom:tests.hostile:EXPERIMENT"
_FAILING = {
    "exit": "SystemExit: 0",
    "interrupt": "KeyboardInterrupt",
    "generator exit": "GeneratorExit",
    "stop iteration": "StopIteration",
    "unprintable": "Unprintable",
    "unprintable user error": "cannot be printed",
    "surrogate": "half of a pair: \\ud800",
    "nan": "the run returned nan (of type float); a run returns its score",
    "infinity": "the run returned",
    "text": "the run returned 'done' (of type str)",
    "array": "the run returned array([0., 0.])",
    "removed": "config.json has gone from",
    "file": "config.json has gone from",
    "overwritten": "after all",
    "unprintable exit": "UnprintableExit",
    "no number": "SystemExit: 0",
}


def acting(workplace: Workplace, *acts: str, hook: str = "", **keys: Any) -> Path:
    base = {"experiment_name": "{act}", "hook": hook}
    configurations = [{"base_config": base, "options": {"act": list(acts)}}]
    return workplace.write_plan(experiment=HOSTILE, configurations=configurations, **keys)


def ends(workplace: Workplace) -> dict[str, dict[str, Any]]:
    found = (folder.read_status() for folder in workplace.folders())
    names = (folder.path.name.rpartition("-")[0] for folder in workplace.folders())
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("scheduling", [{}, {"multiprocess": True, "num_parallel": 2}])
def test_whatever_ends_a_run_is_told_and_the_next_one_is_made(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    plan = acting(workplace, *_FAILING, "no score", "numpy number", "exit once done", **scheduling)
    outcome = workplace.run_plan(plan)
    assert outcome.status == 1
    assert f"{len(_FAILING)} failed: --retry_failed" in outcome.out
    found = ends(workplace)
    for act, reason in _FAILING.items():
        name = act.replace(" ", "")
        assert found[name]["status"] == "failed", act
        assert reason in found[name]["reason"], act
    for act, score in {"noscore": None, "numpynumber": 1.0, "exitoncedone": 1.0}.items():
        assert (found[act]["status"], found[act]["score"]) == ("done", score)
    assert all(end["fingerprint"] != "mine" for end in found.values())
    with (workplace.path / "outputs/exps/plan/index.csv").open() as file:
        states = [row["status"] for row in csv.DictReader(file)]
    assert sorted(states) == ["done"] * 3 + ["failed"] * len(_FAILING)
    assert workplace.run_plan(plan).status == 1
    assert [end["attempt"] for end in ends(workplace).values()] == [1] * len(found)


@pytest.mark.parametrize("hook", ["", "chdir"])
def test_a_run_that_goes_elsewhere_takes_nothing_with_it(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch, hook: str
) -> None:
    monkeypatch.chdir(workplace.path)
    plan = acting(workplace, "chdir", "", hook=hook)
    assert workplace.run_plan(plan).status == 0
    assert Path.cwd() == workplace.path
    assert [end["status"] for end in ends(workplace).values()] == ["done", "done"]


def test_runs_that_are_forgotten_by_what_makes_them_together_have_failed(
    workplace: Workplace,
) -> None:
    plan = acting(workplace, "", "no score", hook="together", vectorize=True)
    assert workplace.run_plan(plan).status == 1
    first, forgotten = sorted(ends(workplace).values(), key=lambda end: end["status"])
    assert (first["status"], forgotten["status"]) == ("done", "failed")
    assert "'tests.hostile:run_together' has not ended the run" in forgotten["reason"]


@pytest.mark.parametrize("scheduling", [{}, {"multiprocess": True}])
def test_what_a_run_moves_is_put_back_for_the_next(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    scores = []
    for name, acts in {"alone": ["draws"], "after": ["all moved", "draws"]}.items():
        configurations = [
            {"base_config": {"experiment_name": "{act}", "act": act, "random_seed": 1}}
            for act in acts
        ]
        plan = workplace.write_plan(
            name, experiment=HOSTILE, configurations=configurations, **scheduling
        )
        process = workplace.start(plan)
        out, err = process.communicate(timeout=600)
        assert process.returncode == 0, err
        assert "draws: done" in err
        assert "draws" in out
        (end,) = (
            folder.read_status()
            for folder in workplace.folders(name)
            if folder.path.name.startswith("draws")
        )
        scores.append(end["score"])
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("hook", "told"),
    [
        ("none", "its preflight 'tests.hostile:preflight' gave None"),
        ("text", "its preflight 'tests.hostile:preflight' gave 'all is well' (of type str); it "
                 "gives a list of Problem"),
        ("number", "its preflight 'tests.hostile:preflight' gave 3"),
        ("exit", "its preflight 'tests.hostile:preflight' raised SystemExit: 0"),
        ("problems", "its problems() gave None"),
        ("notices", "its notices() gave [7]"),
        ("fix_legacy_keys", "its fix_legacy_keys raised TypeError"),
        ("identity", "its identity() raised TypeError"),
        ("inputs", "its inputs() raised SystemExit: 0"),
        ("validator", "its HostileConfig raised SystemExit: 0"),
        ("ranks", "its problems_of_ranks() gave None"),
        ("why_alone", "its why_alone() raised SystemExit: 0"),
        ("vectorize_key", "its vectorize_key() raised TypeError: unhashable type: 'list'"),
    ],
)  # fmt: skip
def test_a_hook_that_answers_otherwise_is_named_before_the_start(
    workplace: Workplace, hook: str, told: str
) -> None:
    keys: dict[str, Any] = {"ranks": {"gpus_per_run": 2}}
    outcome = workplace.run_plan(
        acting(workplace, "", hook=hook, **keys.get(hook, {"vectorize": True}))
    )
    assert outcome.status == 2
    assert f"experiment '{HOSTILE}': {told}" in outcome.err
    assert workplace.files() == []


@pytest.mark.parametrize("scheduling", [{}, {"multiprocess": True}])
def test_threads_and_processes_of_runs_do_not_outlive_the_program(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    process = workplace.start(acting(workplace, "thread", "children", "forked", **scheduling))
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out
    assert err.count("forked: ") == 1
    assert {end["status"] for end in ends(workplace).values()} == {"done"}
    (path,) = (f.path for f in workplace.folders() if f.path.name.startswith("children"))
    assert children_left(path) == []


def test_the_children_of_a_worker_that_was_killed_end_too(workplace: Workplace) -> None:
    assert workplace.run_plan(acting(workplace, "killed", multiprocess=True)).status == 1
    (folder,) = workplace.folders()
    found = folder.read_status()
    assert (found["status"], found["attempt"], found["lost"]) == ("failed", 2, 2)
    assert children_left(folder.path) == []


def test_what_cannot_be_removed_leaves_a_run_done(workplace: Workplace) -> None:
    outcome = workplace.run_plan(acting(workplace, "unremovable"))
    assert outcome.status == 0
    (folder,) = workplace.folders()
    assert "not all that was unfinished is removed" in folder.log.read_text()
    assert ends(workplace)["unremovable"]["status"] == "done"


def test_libraries_end_their_own_processes_first(workplace: Workplace) -> None:
    process = workplace.start(acting(workplace, "service"))
    process.communicate(timeout=600)
    assert process.returncode == 0
    (folder,) = workplace.folders()
    assert (folder.path / "was running").read_text() == "True"


@pytest.fixture
def passing_folder(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that can be removed."""
    folder = workplace.path / "passing"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_no_plan_is_read_in_a_working_folder_that_is_gone(
    workplace: Workplace, passing_folder: Path
) -> None:
    plan = acting(workplace, "one")
    passing_folder.rmdir()
    outcome = workplace.run_plan(plan)
    assert outcome.status == 2
    assert outcome.err == (
        "error: the working folder has been deleted; run the command in one that exists\n"
    )


@pytest.mark.parametrize("keys", [{}, {"multiprocess": True, "num_parallel": 2}])
def test_a_working_folder_that_goes_while_the_program_works_is_told(
    workplace: Workplace, passing_folder: Path, monkeypatch: pytest.MonkeyPatch, keys: Any
) -> None:
    def leave(*given: Any, **named: Any) -> Executor:
        passing_folder.rmdir()
        return executor_of(*given, **named)

    monkeypatch.setattr("common.runner.main.executor_of", leave)
    plan = acting(workplace, "one", "two", **keys)
    outcome = workplace.run("--plan_config_path", plan, "--outputs_dir", workplace.path / "outputs")
    assert outcome.status == 1
    assert outcome.err.splitlines()[-1] == (
        "error: the working folder has been deleted; fix this and run the same command again to "
        "resume"
    )
