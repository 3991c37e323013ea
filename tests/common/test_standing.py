"""What --status and the index say is true, whatever has become of the folders."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from common.runner.progress import Display
from tests.common.plans import index, plan_folder, toy
from tests.conftest import TOY, Workplace


@pytest.mark.parametrize(
    "content",
    [
        "", "[1]", '"x"', '{"status": "runing"}', '{"status": "done"', '{"status": 3}',
        '{"status": "done", "seconds": "x"}', '{"status": "done", "score": []}',
        '{"status": "interrupted", "attempt": "x"}',
        json.dumps({"status": "running", "host": socket.gethostname(), "pid": "1"}),
    ],
)  # fmt: skip
def test_a_broken_status_file_tells_of_nothing_done(workplace: Workplace, content: str) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    workplace.run_plan(plan)
    (folder,) = workplace.folders()
    folder.status.write_text(content)
    shown = workplace.run_plan(plan, "--status")
    assert (shown.status, "1 waiting" in shown.out) == (0, True)
    assert workplace.run_plan(plan).status == 0
    assert folder.read_status()["status"] == "done"


def test_a_dead_process_runs_nothing(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    workplace.run_plan(plan)
    (folder,) = workplace.folders()
    ours = {"host": socket.gethostname(), "pid": os.getpid()}
    for process in ({}, ours):  # a process number is given again once its process is gone
        folder.status.write_text(json.dumps({"status": "running", **process}))
        assert "1 interrupted" in workplace.run_plan(plan, "--status").out


def test_a_run_that_has_not_begun_waits_whatever_the_index_says(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    workplace.run_plan(plan)
    found = plan_folder(workplace).index
    found.write_text(found.read_text().replace("done", "running"))
    workplace.folders()[0].status.unlink()
    assert "1 waiting" in workplace.run_plan(plan, "--status").out


@pytest.mark.parametrize("content", [None, b"", b"\xff\x00,", b"name,stage\na,b\n", b"PK\x00\n"])
def test_without_a_whole_index_folders_tell(workplace: Workplace, content: bytes | None) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    workplace.run_plan(plan)
    found = plan_folder(workplace).index
    whole = found.read_bytes()
    found.unlink()
    if content is not None:
        found.write_bytes(content)
    assert "1 done" in workplace.run_plan(plan, "--status").out
    assert workplace.run_plan(plan).status == 0
    assert found.read_bytes() == whole


def test_status_of_some_runs(workplace: Workplace) -> None:
    named = [toy(experiment_name=name, epochs=len(name)) for name in ("first", "others")]
    plan = workplace.write_plan(experiment=TOY, configurations=named)
    workplace.run_plan(plan)
    shown = workplace.run_plan(plan, "--status", "--only", "first").out
    assert ("first" in shown, "other" in shown) == (True, False)
    assert workplace.run_plan(plan, "--status", "--only", "(").status == 2


@pytest.mark.parametrize(
    ("rows", "progress"),
    [
        ([{"epoch": 0}, {"epoch": 1}], "2 epochs"),
        ([{"epoch": 7, "train loss": 0.5}], "8 epochs"),  # begun at another run's checkpoint
        ([{"epoch": 0, "step": 0}, *2 * [{"epoch": 0.5, "step": 5}]], "5 steps"),
        ([{"epoch": 1, "step": 1}], "1 step"),
        ([{"epoch": 0}, "torn"], "1 epoch"),
        (["torn"], None),
        ([{"note": "x"}], None),
    ],
)  # fmt: skip
def test_status_says_how_far_a_run_is_however_many_rows_it_has_written(
    workplace: Workplace, rows: list[Any], progress: str | None
) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    workplace.run_plan(plan)
    lines = ['{"epoch": 9' if row == "torn" else json.dumps(row) + "\n" for row in rows]
    workplace.folders()[0].metrics.write_text("".join(lines))
    heading, cells = workplace.run_plan(plan, "--status").out.splitlines()[:2]
    start, end = heading.index("progress"), heading.index("score")
    assert cells[start:end].strip() == (progress or "-")


def test_status_of_another_variant_says_so(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    workplace.run_plan(plan, "--num_parallel", "1")
    assert "another variant" not in workplace.run_plan(plan, "--status").out
    assert "another variant" in workplace.run_plan(plan, "--status", "--set", "epochs=9").out


def test_status_of_another_base_of_the_plan_says_so(workplace: Workplace) -> None:
    def plan(lr: float) -> Path:
        return workplace.write_plan(experiment=TOY, base_config={"lr": lr}, configurations=[toy()])

    assert workplace.run_plan(plan(1)).status == 0
    assert "another variant" not in workplace.run_plan(plan(1), "--status").out
    assert "another variant" in workplace.run_plan(plan(2), "--status").out


def test_a_plan_that_says_the_same_in_other_words_is_no_other_variant(
    workplace: Workplace,
) -> None:
    entries = [toy(lr=1), toy(lr=2)]
    workplace.run_plan(workplace.write_plan(experiment=TOY, configurations=entries))
    plan = workplace.write_plan(
        experiment=TOY,
        base_config=toy(lr=1)["base_config"],
        configurations=[{}, {"base_config": {"lr": 2}}],
    )
    assert "another variant" not in workplace.run_plan(plan, "--status").out


def test_a_moved_folder_holds_the_same_plan(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    workplace.run_plan(plan)
    (workplace.path / "outputs/exps").rename(workplace.path / "moved")
    told = workplace.run_plan(plan, "--status", "--outputs_dir", "moved").out
    assert "1 done" in told
    assert "another variant" not in told
    varied = workplace.run_plan(plan, "--status", "--outputs_dir", "moved", "--set", "epochs=9").out
    assert "another variant" in varied


def test_runs_that_leave_the_index_are_told_of(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(epochs=1)])
    workplace.run_plan(plan)
    assert "listed" not in workplace.run_plan(plan).err
    assert (
        "listed 1 runs that this plan does not make"
        in workplace.run_plan(plan, "--set", "epochs=2").err
    )
    assert len(workplace.folders()) == 2


def test_a_figure_of_runs_left_out_on_purpose_is_no_failure(workplace: Workplace) -> None:
    named: list[Any] = [toy(experiment_name=name, epochs=len(name)) for name in ("first", "others")]
    plan = workplace.write_plan(experiment=TOY, configurations=named, figures=["controlled_curves"])
    outcome = workplace.run_plan(plan, "--only", "first")
    assert (outcome.status, "nothing to draw" in outcome.err) == (0, True)
    assert workplace.run_plan(plan).status == 1


def test_what_is_not_gone_on_with_stays_as_it_was(workplace: Workplace) -> None:
    """After --retry_failed --fail_fast the second failure still stands in the index."""
    bad: list[Any] = [toy(experiment_name=name, fail_at=len(name)) for name in ("a", "bb")]
    plan = workplace.write_plan(experiment=TOY, configurations=bad)
    workplace.run_plan(plan)
    outcome = workplace.run_plan(plan, "--retry_failed", "--fail_fast")
    assert [row["status"] for row in index(workplace).values()] == ["failed", "failed"]
    assert (outcome.status, outcome.out.count(" failed ")) == (1, 2)


def test_a_fresh_dry_run_says_what_is_made_anew(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    workplace.run_plan(plan)
    assert "made anew" in workplace.run_plan(plan, "--dry_run", "--fresh").out


def test_after_a_failure_fail_fast_lets_running_work_end(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way cannot end before the failure is known."""
    ended = Display.ended

    def ended_and_open(self: Display, *told: Any) -> None:
        ended(self, *told)
        workplace.gate.touch()

    monkeypatch.setattr(Display, "ended", ended_and_open)
    plan = workplace.write_plan(
        experiment=TOY,
        configurations=[
            toy(experiment_name="bad", fail_at=0),
            toy(experiment_name="under_way", epochs=12, gate=str(workplace.gate)),
            toy(experiment_name="next"),
        ],
    )
    assert workplace.run_plan(plan, "--fail_fast", "--num_parallel", "2").status == 1
    states = {
        folder.path.name.split("-")[0]: folder.read_status() for folder in workplace.folders()
    }
    assert {name: status["status"] for name, status in states.items()} == {
        "bad": "failed", "under_way": "done",
    }  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_named(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    folder = plan_folder(workplace).path
    folder.mkdir(parents=True)
    folder.chmod(0o500)
    outcome = workplace.run_plan(plan)
    assert (outcome.status, f"'outputs_dir': {folder}" in outcome.err) == (2, True)
