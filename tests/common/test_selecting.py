"""Which runs are made: what is missing, what is asked for, and what they need."""

from __future__ import annotations

import shutil

from tests.common.plans import index, toy
from tests.conftest import TOY, Workplace


def test_a_finished_plan_is_left_alone(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[{**toy(), "seeds": [1, 2]}])
    assert workplace.run_plan(plan).status == 0
    before = {folder.path.name: folder.status.read_text() for folder in workplace.folders()}
    assert len(before) == 2
    assert workplace.run_plan(plan).status == 0
    assert {f.path.name: f.status.read_text() for f in workplace.folders()} == before


def test_only_what_is_missing_is_made(workplace: Workplace) -> None:
    workplace.run_plan(workplace.write_plan(experiment=TOY, configurations=[toy()]))
    (first,) = workplace.folders()
    attempts = first.read_status()
    grown = workplace.write_plan(experiment=TOY, configurations=[toy(), toy(lr=0.3)])
    assert workplace.run_plan(grown).status == 0
    assert len(workplace.folders()) == 2
    assert first.read_status() == attempts


def test_a_renamed_run_keeps_its_folder(workplace: Workplace) -> None:
    first, second = toy(experiment_name="first"), toy(experiment_name="second")
    workplace.run_plan(workplace.write_plan(experiment=TOY, configurations=[first]))
    (folder,) = workplace.folders()
    before = folder.status.read_text()
    outcome = workplace.run_plan(workplace.write_plan(experiment=TOY, configurations=[second]))
    assert outcome.status == 0
    assert [found.path for found in workplace.folders()] == [folder.path]
    assert folder.status.read_text() == before
    assert index(workplace)["second"]["folder"] == folder.path.name


def test_the_plan_in_the_plans_folder_goes_on_with_its_runs(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment=TOY, configurations=[{**toy(), "options": {"lr": [1, 2]}, "seeds": [1, 2]}]
    )
    changes = ["--set", "lr=3", "--set", "epochs=2", "--set", "seeds=[4]", "--num_parallel", "1"]
    assert workplace.run_plan(plan, *changes).status == 0
    (folder,) = workplace.folders()
    before = folder.status.read_text()
    shutil.copy(workplace.path / "outputs/exps/plan/plan.json", plan)
    assert "skipped (done)" in workplace.run_plan(plan, "--dry_run").out
    assert workplace.run_plan(plan).status == 0
    assert [f.status.read_text() for f in workplace.folders()] == [before]


def test_failed_runs_wait_for_retry_failed(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(refuse=True)])
    assert workplace.run_plan(plan).status == 1
    assert workplace.run_plan(plan).status == 1
    (folder,) = workplace.folders()
    assert folder.read_status()["attempt"] == 1
    assert folder.read_status()["reason"] == "mend it"
    assert workplace.run_plan(plan, "--retry_failed").status == 1
    assert folder.read_status()["attempt"] == 2


def test_fresh_makes_runs_and_those_that_refer_to_them_anew(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment=TOY,
        configurations=[
            {"id": "a", **toy(experiment_name="first")},
            toy(experiment_name="second", start="@a.checkpoint"),
            toy(experiment_name="third", lr=0.5),
        ],
    )
    workplace.run_plan(plan)
    before = {folder.path.name: folder.status.read_text() for folder in workplace.folders()}
    assert workplace.run_plan(plan, "--fresh", "--only", "first").status == 0
    after = {folder.path.name: folder.status.read_text() for folder in workplace.folders()}
    changed = {name.partition("-")[0] for name in before if before[name] != after[name]}
    assert changed == {"first", "second"}
    replaced = workplace.path / "outputs/exps/plan/replaced"
    assert sorted(path.name.partition("-")[0] for path in replaced.iterdir()) == ["first", "second"]


def test_only_makes_what_fits_and_what_it_needs(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment=TOY,
        configurations=[
            {"id": "a", **toy(experiment_name="first")},
            toy(experiment_name="second", start="@a.checkpoint"),
            toy(experiment_name="third", lr=0.5),
        ],
    )
    assert workplace.run_plan(plan, "--only", "second").status == 0
    states = {name: row["status"] for name, row in index(workplace).items()}
    assert states == {"first": "done", "second": "done", "third": "waiting"}
    assert "fits no run" in workplace.run_plan(plan, "--only", "nothing").err
    assert "not a regular expression" in workplace.run_plan(plan, "--only", "(").err


def test_skip_leaves_out_leading_runs(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment=TOY, skip=1, configurations=[toy(experiment_name="a"), toy(lr=2)]
    )
    assert workplace.run_plan(plan).status == 0
    assert index(workplace)["a"]["status"] == "waiting"
    assert index(workplace)["exp"]["status"] == "done"


def test_dry_run_and_status_tell_and_write_nothing(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        experiment=TOY,
        configurations=[
            {"id": "a", **toy(experiment_name="first")},
            toy(experiment_name="second", start="@a.checkpoint"),
        ],
    )
    assert "nothing has run yet" in workplace.run_plan(plan, "--status").out
    shown = workplace.run_plan(plan, "--dry_run").out
    assert "second" in shown
    assert "first (" in shown
    assert workplace.files() == []
    workplace.run_plan(plan, "--only", "first")
    assert "skipped (done)" in workplace.run_plan(plan, "--dry_run").out
    shown = workplace.run_plan(plan, "--status").out
    assert "1 done, 1 waiting" in shown


def test_a_stage_whose_checkpoint_was_removed_is_made_anew(workplace: Workplace) -> None:
    stage = {"id": "a", **toy(experiment_name="first")}
    workplace.run_plan(workplace.write_plan(experiment=TOY, configurations=[stage]))
    (first,) = workplace.folders()
    (first.checkpoints / "last.pt").unlink()
    second = toy(experiment_name="second", start="@a.checkpoint")
    plan = workplace.write_plan(experiment=TOY, configurations=[stage, second])
    assert workplace.run_plan(plan).status == 0
    assert (first.checkpoints / "last.pt").exists()
    assert first.read_status()["attempt"] == 2
