from __future__ import annotations

import logging

import pytest

from common.errors import UserError
from common.run.folder import RunFolder
from plots.controlled.curves import WANTED
from plots.controlled.reward_std_vs_gradient import WANTED as WANTED_INPUTS
from plots.runs import load_runs, read_curves, read_inputs
from tests.plots import folders

ROWS = [folders.epoch_row(0, -1.0), folders.epoch_row(1, 0.0)]


def loaded_names(paths):
    return [run.path.name for run in load_runs(paths, WANTED)]


def test_pretraining_runs_are_passed_over_in_silence(tmp_path, caplog):
    pretrained = folders.make_run(tmp_path / "pre", [{"epoch": 0, "train loss": 1.6}])
    run = folders.make_run(tmp_path / "fine", ROWS)
    plan = folders.make_index(tmp_path, [pretrained, run])
    assert loaded_names([plan]) == ["fine"]
    assert caplog.text == ""


def test_plans_and_runs_mix_and_each_run_counts_once(tmp_path):
    plan = folders.two_methods(tmp_path / "plan")
    alone = folders.make_run(tmp_path / "alone", ROWS)
    expected = ["supervised-7", "expected_reinforce-7", "alone"]
    assert loaded_names([plan, plan / "supervised-7", alone, alone]) == expected


def test_some_runs_are_chosen_by_name(tmp_path):
    plan = folders.two_methods(tmp_path / "plan")
    chosen = load_runs([plan], WANTED, "^super")
    assert [run.path.name for run in chosen] == ["supervised-7"]
    with pytest.raises(UserError, match="'only' = 'sgd': found in no run's name; there are superv"):
        load_runs([plan], WANTED, "sgd")


def test_unfinished_runs_are_drawn_and_named(tmp_path, caplog):
    runs = [folders.make_run(tmp_path / name, ROWS) for name in ("a", "b", "c")]
    plan = folders.make_index(tmp_path, runs, a="running", c="failed")
    assert loaded_names([plan]) == ["a", "b", "c"]
    assert "not done: a (running), c (failed)" in caplog.text


def test_status_of_a_run_alone_comes_from_its_folder(tmp_path, caplog):
    loaded_names([folders.make_run(tmp_path / "a", ROWS, status="interrupted")])
    assert "a (interrupted)" in caplog.text


def test_nothing_to_draw_says_what_where_and_why(tmp_path):
    runs = [folders.make_run(tmp_path / name) for name in ("a", "b", "c", "d")]
    plan = folders.make_index(tmp_path, runs, a="waiting", b="waiting", c="failed")
    with pytest.raises(UserError) as raised:
        load_runs([plan], WANTED)
    message = str(raised.value)
    assert "small reward std" in message
    assert f"looked in: {tmp_path}" in message
    assert "3 of 4 runs are not done (2 waiting, 1 failed); run the plan to its end" in message
    assert "fix: set 'frac_samples_to_modify_labels' above 0" in message
    done = folders.make_index(tmp_path, runs)
    with pytest.raises(UserError, match=r"per_input\.parquet") as raised:
        load_runs([done], WANTED_INPUTS)
    assert "not done" not in str(raised.value)


def test_folders_that_hold_no_runs_are_refused(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder"):
        load_runs([tmp_path / "nowhere"], WANTED)
    with pytest.raises(UserError, match=r"no runs here; .* index.csv"):
        load_runs([tmp_path], WANTED)
    with pytest.raises(UserError, match="looked in: no folder"):
        load_runs([], WANTED)
    (tmp_path / "index.csv").write_bytes(b"name,folder\n\xff,\xff\n")
    with pytest.raises(UserError, match=r"index.csv: cannot be read: .*run the plan again"):
        load_runs([tmp_path], WANTED)


def test_damaged_files_leave_the_other_runs(tmp_path, caplog):
    runs = [folders.make_run(tmp_path / name, ROWS) for name in ("good", "torn", "bare")]
    with (tmp_path / "torn" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "reward sm')
    (tmp_path / "bare" / "config.json").write_text("{")
    plan = folders.make_index(tmp_path, [*runs, tmp_path / "gone"])
    with (plan / "index.csv").open("a") as file:
        file.write("half a row\n")
    assert loaded_names([plan]) == ["good", "torn"]
    assert "bare: left out, config.json is missing or unreadable" in caplog.text
    assert "1 rows name no folder" in caplog.text


def test_curves_keep_finite_numbers_and_the_last_row_of_an_epoch(tmp_path):
    rows = [
        folders.epoch_row(1, float("nan"), float("inf")),
        folders.epoch_row(0, 0.1),
        {"reward small reward std": 5.0},
        folders.epoch_row(2, None),
        folders.epoch_row(0, 0.2),
        {**folders.epoch_row(3, 0.3), "reward small reward std": "high"},
    ]
    table = read_curves(RunFolder(folders.make_run(tmp_path / "run", rows)))
    assert table.index.tolist() == [0, 1, 2, 3]
    assert table["reward small reward std"].dropna().to_dict() == {0: 0.2}
    assert table["reward large reward std"].dropna().to_dict() == {0: 0.5, 2: 0.5, 3: 0.5}
    assert table["grad norm small reward std"].dropna().to_dict() == {0: 0.2, 3: 0.3}
    assert "train loss" not in table


@pytest.mark.parametrize(
    "rows",
    [[], [{"reward small reward std": 1.0}], [{"epoch": 0}], [folders.epoch_row(0, float("nan"))]],
)
def test_runs_without_a_number_on_changed_inputs_have_no_curves(tmp_path, rows):
    assert read_curves(RunFolder(folders.make_run(tmp_path / "run", rows))) is None


def test_inputs_that_cannot_be_drawn_are_left_out(tmp_path, caplog):
    table = folders.inputs(3, [0.25, float("nan"), float("inf")])
    run = RunFolder(folders.make_run(tmp_path / "run", per_input=table))
    assert len(read_inputs(run)) == 4
    assert "2 rows without finite numbers" in caplog.text
    table.assign(changed=False).to_parquet(run.table("per_input"))
    assert read_inputs(run) is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda table: table.drop(columns="reward_std"),
        lambda table: table.assign(reward_std="high"),
        lambda table: table.assign(epochs_trained=float("nan")),
    ],
)
def test_unreadable_tables_of_inputs_are_named(tmp_path, caplog, spoil):
    caplog.set_level(logging.WARNING)
    table = spoil(folders.inputs(3, [0.25, 0.5]))
    assert read_inputs(RunFolder(folders.make_run(tmp_path / "run", per_input=table))) is None
    assert "per_input.parquet: left out, cannot be read" in caplog.text


def test_a_file_that_is_no_parquet_is_named(tmp_path, caplog):
    run = RunFolder(folders.make_run(tmp_path / "run"))
    run.table("per_input").write_bytes(b"PAR1 torn")
    assert read_inputs(run) is None
    assert "cannot be read" in caplog.text
