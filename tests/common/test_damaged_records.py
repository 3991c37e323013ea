"""Damaged records of runs: each is named, nothing in it is used, and what can be is made again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.run.folder import RunFolder, read_json, read_table, write_json, write_table
from common.run.written_files import damage, sizes
from tests.common.plans import plan_folder, toy
from tests.conftest import TINY_DIGITS, TOY, Workplace, without_seconds

DEEP = "[" * 50_000 + "]" * 50_000
NESTED = '{"epoch": 1, "train loss": ' + "[" * 300 + "]" * 300 + "}\n"


def finished(workplace: Workplace, **changes: Any) -> tuple[Path, RunFolder]:
    """A plan with a run that is done."""
    plan = workplace.write_plan(experiment=TOY, configurations=[toy(**changes)])
    assert workplace.run_plan(plan).status == 0
    return plan, workplace.folders()[0]


def interrupt(folder: RunFolder) -> None:
    write_json(folder.status, {**folder.read_status(), "status": "interrupted"})


@pytest.mark.parametrize(
    "content",
    [
        DEEP,
        '{"status": "done", "attempt": true}',
        '{"status": "done", "score": NaN}',
        '{"status": "running", "pid": 1' + "0" * 30 + "}",
    ],
)
def test_a_damaged_status_is_named_and_the_run_made_again(
    workplace: Workplace, content: str
) -> None:
    plan, folder = finished(workplace)
    rows = without_seconds(folder)
    folder.status.write_text(content)
    shown = workplace.run_plan(plan, "--status")
    assert (shown.status, "1 waiting" in shown.out) == (0, True)
    assert f"{folder.status.relative_to(workplace.path)} is damaged" in shown.out
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0
    assert outcome.err.count(f"{folder.status.relative_to(workplace.path)} is damaged") == 1
    assert folder.read_status()["status"] == "done"
    assert without_seconds(folder) == rows
    assert "is damaged" not in workplace.run_plan(plan).err


@pytest.mark.parametrize(
    ("name", "told"),
    [("metrics.jsonl", "it has 10 of "), ("summary.json", "it has 10 of "),
     ("checkpoints/last.pt", "it has 10 of "), ("summary.json", "it is missing")],
)  # fmt: skip
def test_damage_to_a_run_that_was_done_is_told_with_what_mends_it(
    workplace: Workplace, name: str, told: str
) -> None:
    plan, folder = finished(workplace)
    rows = without_seconds(folder)
    path = folder.path / name
    path.write_bytes(path.read_bytes()[:10])
    if "missing" in told:
        path.unlink()
    line = f"{path.relative_to(workplace.path)} is damaged ({told}"
    mends = "exp was done, and --fresh --only 'exp' makes it again"
    shown, again = workplace.run_plan(plan, "--status"), workplace.run_plan(plan)
    assert (shown.status, again.status) == (0, 1)
    for said in (line, mends):
        assert (shown.out.count(said), again.err.count(said)) == (1, 1)
    assert workplace.run_plan(plan, "--fresh", "--only", "exp").status == 0
    assert without_seconds(workplace.folders()[0]) == rows
    assert "damaged" not in workplace.run_plan(plan).err


def test_checkpoints_of_runs_that_are_done_may_be_removed(workplace: Workplace) -> None:
    plan, folder = finished(workplace)
    (folder.checkpoints / "last.pt").unlink()
    folder.log.write_text("nothing")
    outcome = workplace.run_plan(plan)
    assert (outcome.status, "damaged" in outcome.err) == (0, False)


def test_a_stage_that_needs_a_damaged_checkpoint_is_refused(workplace: Workplace) -> None:
    base = {**TINY_DIGITS, "save_checkpoints": True, "epochs": 1}
    first = {"id": "first", "base_config": {**base, "experiment_name": "first"}}
    second = {"base_config": {**base, "load_model_from_checkpoint": "@first.checkpoint"}}
    plan = workplace.write_plan(configurations=[first, second])
    assert workplace.run_plan(plan, "--only", "first").status == 0
    path = workplace.folders()[0].checkpoints / "last.pt"
    path.write_bytes(path.read_bytes()[:-10])
    outcome = workplace.run_plan(plan)
    assert outcome.status == 2
    for said in ("not a whole checkpoint", "--fresh --only 'first' makes it again"):
        assert said in outcome.err
    assert workplace.run_plan(plan, "--fresh", "--only", "first").status == 0
    assert workplace.run_plan(plan).status == 0


def test_a_damaged_plan_in_the_folder_is_no_obstacle(workplace: Workplace) -> None:
    plan, _ = finished(workplace)
    plan_folder(workplace).plan.write_text(DEEP)
    assert workplace.run_plan(plan, "--status").status == 0
    assert workplace.run_plan(plan).status == 0


@pytest.mark.parametrize(
    "damage",
    [DEEP + "\n", NESTED, '{"train loss": 1.0}\n', '{"epoch": "1", "train loss": 1.0}\n'],
)
def test_rows_that_do_not_fit_are_made_again(workplace: Workplace, damage: str) -> None:
    plan, folder = finished(workplace, save_metric_plots=True)
    rows = without_seconds(folder)
    lines = folder.metrics.read_text().splitlines(keepends=True)
    folder.metrics.write_text(lines[0] + damage + lines[2])
    interrupt(folder)
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0
    assert "metrics.jsonl lacks rows of epochs" in outcome.err
    assert without_seconds(folder) == rows


@pytest.mark.parametrize(
    "change",
    [
        {"seeds": []},
        {"seeds": {"random_seed": "1"}},
        {"threads": None},
        {"threads": "2"},
        {"later_attempts": 3},
    ],
)
def test_provenance_is_made_again_where_seeds_and_threads_are_known(
    workplace: Workplace, change: dict[str, Any]
) -> None:
    plan, folder = finished(workplace)
    before, rows = read_json(folder.provenance), without_seconds(folder)
    write_json(folder.provenance, {**before, **change})
    write_json(folder.status, {**folder.read_status(), "status": "failed"})
    outcome = workplace.run_plan(plan, "--retry_failed")
    assert outcome.status == 0
    assert "provenance.json is damaged" in outcome.err
    assert "provenance.json is damaged" in folder.log.read_text()
    after = read_json(folder.provenance)
    assert (after["seeds"], after["threads"]) == (before["seeds"], before["threads"])
    assert without_seconds(folder) == rows


def _lose_seed(folder: RunFolder) -> None:
    folder.provenance.write_text(DEEP)


def _lose_threads(folder: RunFolder) -> None:
    folder.provenance.write_text("")
    folder.status.write_text("")


@pytest.mark.parametrize(
    ("seed", "damage", "lost"), [(None, _lose_seed, "seed"), (1, _lose_threads, "threads")]
)
def test_what_is_known_from_nowhere_is_not_guessed(
    workplace: Workplace, seed: int | None, damage: Callable[[RunFolder], None], lost: str
) -> None:
    plan, folder = finished(workplace, random_seed=seed)
    interrupt(folder)
    damage(folder)
    rows = folder.metrics.read_bytes()
    assert workplace.run_plan(plan).status == 1
    reason = folder.read_status()["reason"]
    assert "provenance.json is damaged" in reason
    assert f"the run's {lost}" in reason and "--fresh" in reason
    assert folder.metrics.read_bytes() == rows
    assert workplace.run_plan(plan, "--fresh").status == 0


def test_what_killed_writers_left_is_removed(workplace: Workplace) -> None:
    plan, folder = finished(workplace)
    mine = [
        folder.path / ".summary.json.999999999.tmp",
        folder.checkpoints / ".last.pt.999999999.tmp",
        plan_folder(workplace).path / ".index.csv.999999999.tmp",
    ]
    others = [folder.path / ".mine.tmp", folder.path / ".summary.json.1.tmp"]
    for path in [*mine, *others]:
        path.write_text("half")
    half = folder.path / ".model.999999999.tmp"
    (half / "model").mkdir(parents=True)
    interrupt(folder)
    assert workplace.run_plan(plan).status == 0
    assert [path.exists() for path in [*mine, half]] == [False] * 4
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("name", ["per_input", "theory"])
@pytest.mark.parametrize("damage", ["half", "other", "missing"])
def test_a_table_of_epochs_that_are_gone_is_made_again(
    workplace: Workplace, name: str, damage: str
) -> None:
    base = {**TINY_DIGITS, "theory_every": 1, "theory_inputs": 4}
    plan = workplace.write_plan(configurations=[{"base_config": base}])
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    path = folder.table(name)
    rows, whole = without_seconds(folder), path.read_bytes()
    if damage == "half":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "other":
        write_table(path, read_table(path, ()).drop(columns="epochs_trained"))
    else:
        path.unlink()
    interrupt(folder)
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0, outcome.err
    assert f"{name}.parquet" in outcome.err and "starts again" in outcome.err
    assert without_seconds(folder) == rows
    assert path.read_bytes() == whole


def test_a_table_with_a_wrong_byte_is_damaged(tmp_path: Path) -> None:
    import pandas as pd

    from common.run.record_schemas import DamagedError

    path = tmp_path / "table.parquet"
    write_table(path, pd.DataFrame({"number": range(1000)}))
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match="cannot be read"):
        read_table(path, ["number"])


def test_json_of_a_record_is_as_deep_as_it_may_be(workplace: Workplace) -> None:
    plan, folder = finished(workplace)
    record = read_json(folder.provenance)
    record["later_attempts"] = [json.loads("[" * 300 + "]" * 300)]
    folder.provenance.write_text(json.dumps(record))
    interrupt(folder)
    assert workplace.run_plan(plan).status == 0


def test_what_a_file_server_hides_in_a_folder_and_removes_later_is_no_damage(
    tmp_path: Path,
) -> None:
    folder = RunFolder(tmp_path)
    folder.checkpoints.mkdir()
    for name in ("config.json", ".nfs0000000001", ".lease-1", "checkpoints/.nfs0000000002"):
        (tmp_path / name).write_text("{}")
    found = sizes(folder)
    assert found == {"config.json": 2}
    (tmp_path / ".nfs0000000001").unlink()
    assert damage(folder, {"sizes": found}) is None
