"""What ``--dry_run`` tells of runs: their keys, and what has changed since others were done."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from tests.common.plans import toy
from tests.conftest import TOY, Workplace


def sources(told: str, head: str) -> dict[str, tuple[str, str]]:
    """Value and source by key, of the table below the line that begins with ``head``."""
    _, _, below = told.partition(f"\n{head}")
    table = below.partition("\n\n")[0].splitlines()[2:]
    rows = [line.split(maxsplit=2) for line in table]
    return {key: (value, source) for key, value, source in rows}


def test_each_value_is_told_with_where_it_comes_from(workplace: Workplace) -> None:
    (workplace.path / "file.json").write_text(json.dumps({"validate_every": 4, "lr": 9}))
    plan = workplace.write_plan(
        experiment=TOY,
        repetitions=2,
        seeds=[3],
        set={"second.pause": 0.25},
        base_config={"epochs": 7, "experiment_name": "n"},
        configurations=[
            {"id": "first", "base_config": {"from": "file.json", "fail_at": 1}},
            {"id": "second", "extends": "first", "base_config": {"refuse": True},
             "options": {"lr": [1, 2]}},
        ],
    )  # fmt: skip
    outcome = workplace.run_plan(plan, "--dry_run", "--verbose", "nan_at=5")
    assert outcome.status == 0
    tags = re.findall(r" ([0-9a-f]{8}) ", outcome.out)
    first, second, third = (sources(outcome.out, f"n ({tags[run]})") for run in (0, 2, 4))
    assert first["validate_every"] == ("4", "base_config, from file.json")
    assert first["lr"] == ("9.0", "base_config, from file.json")
    assert first["fail_at"] == ("1", "base_config")
    assert first["epochs"] == ("7", "base_config of the plan")
    assert first["random_seed"] == ("3", "seeds")
    assert first["nan_at"] == ("5", "--set")
    assert first["pause"] == ("0.0", "default")
    assert second["validate_every"] == ("4", "extends 'first', from file.json")
    assert second["fail_at"] == ("1", "extends 'first'")
    assert second["refuse"] == ("true", "base_config")
    assert second["lr"] == ("1.0", "options")
    assert second["pause"] == ("0.25", "set")
    assert third == {"lr": ("2.0", "options")}
    assert "4      seeds, repetition 1" in outcome.out


def test_only_limits_the_tables(workplace: Workplace) -> None:
    entries = [toy(experiment_name="one"), toy(experiment_name="two", lr=2)]
    plan = workplace.write_plan(experiment=TOY, configurations=entries)
    told = workplace.run_plan(plan, "--dry_run", "--verbose", "--only", "two").out
    assert '"two"' in told and '"one"' not in told


def test_it_tells_what_should_be_known_of_keys_as_a_run_does(workplace: Workplace) -> None:
    scored = toy(score_metric_name="test loss", epochs=1)
    plan = workplace.write_plan(experiment=TOY, repetitions=2, configurations=[scored])
    for flags in (["--dry_run"], []):
        told = workplace.run_plan(plan, *flags).err
        assert told.count("score 'test loss': smaller is better, by its name") == 1


def test_verbose_alone_is_refused(workplace: Workplace) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=[toy()])
    outcome = workplace.run_plan(plan, "--verbose")
    assert outcome.status == 2 and "--dry_run" in outcome.err


def make(workplace: Workplace, *configurations: dict[str, Any]) -> None:
    plan = workplace.write_plan(experiment=TOY, configurations=configurations)
    assert workplace.run_plan(plan).status == 0


def changes(workplace: Workplace, *configurations: dict[str, Any]) -> list[str]:
    plan = workplace.write_plan(experiment=TOY, configurations=configurations)
    told = workplace.run_plan(plan, "--dry_run").out
    return [line.partition(": ")[2] for line in told.splitlines() if line.startswith("  exp-")]


def test_changed_keys_are_told_of_the_nearest_done_run(workplace: Workplace) -> None:
    before = {**toy(), "options": {"lr": [0.25, 0.5]}}
    assert changes(workplace, before) == []
    make(workplace, before)
    assert changes(workplace, before) == []
    assert changes(workplace, {**before, "options": {"lr": [0.25, 0.75]}}) == ["lr 0.5 -> 0.75"]
    assert changes(workplace, toy(epochs=4, lr=0.5, save_logs=True)) == ["epochs 3 -> 4"]
    assert changes(workplace, toy(epochs=4, lr=2, experiment_name="other")) == []
    for folder in workplace.folders():
        status = json.loads(folder.status.read_text())
        folder.status.write_text(json.dumps({**status, "status": "failed"}))
    assert changes(workplace, toy(epochs=4, lr=0.5)) == []


def test_runs_of_the_plan_are_not_told_as_changed(workplace: Workplace) -> None:
    make(workplace, toy())
    assert changes(workplace, toy(), toy(lr=0.5)) == []
    assert changes(workplace, toy(lr=0.5)) == ["lr 0.1 -> 0.5"]


def test_repetitions_are_compared_with_the_same_one(workplace: Workplace) -> None:
    def plan(**base: Any) -> Path:
        entry = {"base_config": {"epochs": 1, **base}}
        return workplace.write_plan(experiment=TOY, repetitions=2, configurations=[entry])

    assert workplace.run_plan(plan()).status == 0
    told = workplace.run_plan(plan(lr=0.5), "--dry_run").out
    pairs = re.findall(r"exp-\w+(-rep1)?, before exp-\w+(-rep1)?:", told)
    assert pairs == [("", ""), ("-rep1", "-rep1")]


def test_a_changed_stage_is_told_of_those_that_refer_to_it(workplace: Workplace) -> None:
    def stages(**base: Any) -> list[dict[str, Any]]:
        return [
            {"id": "first", **toy(experiment_name="start", **base)},
            toy(start="@first.checkpoint"),
        ]

    make(workplace, *stages())
    first, _ = sorted(workplace.folders(), key=lambda folder: "start" not in folder.path.name)
    (told,) = changes(workplace, *stages(lr=0.5))
    assert told.startswith(f'start "{first.path.name}/checkpoints/last.pt" -> "start-')


def test_a_changed_input_file_is_told_where_no_key_differs(workplace: Workplace) -> None:
    assert (
        workplace.run_plan(workplace.write_plan(experiment=TOY, configurations=[toy()])).status == 0
    )
    (made,) = workplace.folders()
    start = Path(shutil.copy(made.path / "checkpoints/last.pt", workplace.path / "start.pt"))
    entry = toy(start=str(start), epochs=4)
    assert (
        workplace.run_plan(workplace.write_plan(experiment=TOY, configurations=[entry])).status == 0
    )
    start.write_bytes(start.read_bytes() + b"x")
    assert changes(workplace, entry) == ["no key, but what its input files hold"]
