"""Parts of a report: stages, attempts and earlier runs, inputs of classifiers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.run.folder import PlanFolder, RunFolder, read_json, write_json, write_table
from plots.report import attempts, texts
from plots.report.configurations import labels
from plots.report.learning import Learning
from plots.report.runs import ReportRun, load
from plots.report.stage_graph import Graph, graph, stages
from tests.plots.folders import text_config, text_run
from tests.plots.report.many_runs import write_plan_folder


@pytest.fixture
def folder(tmp_path: Path) -> PlanFolder:
    write_plan_folder(tmp_path / "plan", num_configurations=2, num_seeds=1, num_epochs=2)
    return PlanFolder(tmp_path / "plan")


def positions(found: Graph) -> dict[str, tuple[int, int]]:
    return {box.name: (box.x, box.y) for box in found.boxes}


def test_stages_stand_right_of_what_they_read(folder: PlanFolder) -> None:
    entries: list[dict[str, Any]] = [
        {"id": "late", "base_config": {"a": "@middle.model", "b": "@first.model"}},
        {"id": "first"},
        {"id": "middle", "base_config": {"a": {"b": ["@first.model"]}}},
        {"extends": "middle"},
    ]
    write_json(folder.plan, {"configurations": entries})
    found = stages(folder)
    assert found == {
        "late": ["middle", "first"], "first": [], "middle": ["first"],
        "configurations[3]": ["first"],
    }  # fmt: skip
    picture = graph(found)
    assert picture is not None
    places = positions(picture)
    assert places["first"][0] < places["middle"][0] < places["late"][0] < picture.width
    assert len(set(places.values())) == 4
    assert len(picture.arrows) == 3  # from first to late, the way over the middle tells the same
    assert graph({}) is None
    assert graph({"a": ["b"], "b": ["a"]}) is not None  # a damaged plan


def test_stages_read_what_whole_values_refer_to(folder: PlanFolder) -> None:
    base = {"init": "@first.model", "prompt": "write to me@first.org or @first.org"}
    entries: list[dict[str, Any]] = [
        {"id": "first"},
        {"id": "other"},
        {"id": "reads", "base_config": {"alg.args": {"judge": "@other.model"}}},
        {"id": "own", "extends": "reads", "options": {"init": ["@other.model", "gpt2"]}},
        {"id": "over", "extends": "own", "base_config": {"init": "gpt2", "mail": "@me.org"}},
        {"id": "fit"},
    ]
    write_json(folder.plan, {"base_config": base, "configurations": entries})
    found = {
        "first": [], "other": ["first"], "reads": ["first", "other"], "own": ["other"],
        "over": ["other"], "fit": ["first"],
    }  # fmt: skip
    assert stages(folder) == found
    runs = load(folder)  # of the stage fit, which have no key "init"
    assert stages(folder, runs) == found | {"fit": []}


def test_many_dense_stages_are_drawn() -> None:
    found = {f"{layer}{each}": [f"{layer - 1}{other}" for other in "abcd" if layer]
             for layer in range(30) for each in "abcd"}  # fmt: skip
    picture = graph(found)
    assert picture is not None
    places = positions(picture)
    assert len({x for x, _ in places.values()}) == 30 and len(picture.arrows) == 29 * 16


def test_changes_since_an_attempt_and_since_earlier_keys(folder: PlanFolder) -> None:
    runs = load(folder)
    path = runs[0].folder.provenance
    record = read_json(path)
    later = {**record, "commit": "1" * 40, "versions": {**record["versions"], "torch": "9"}}
    path.write_text(json.dumps({**record, "later_attempts": [later]}))
    former = folder.path / "sft-gone"
    former.mkdir()
    write_json(former / "config.json", {"experiment_name": "sft", "lr": 0.5})
    assert attempts.changes(folder, load(folder)) == [
        {"name": "sft", "attempt": "attempt 2",
         "changes": "commit 00000000 to 11111111, torch None to 9"},
        {"name": "sft", "attempt": "since sft-gone", "changes": "lr 0.5 to None"},
    ]  # fmt: skip


def test_inputs_of_classifiers_stand_before_and_after_training(folder: PlanFolder) -> None:
    runs = load(folder)
    table = pd.DataFrame({
        "epochs_trained": [0, 0, 2, 2], "input": [0, 1, 0, 1], "changed": [False, True] * 2,
        "reward_mean": [0.5, -1.0, 0.9, -0.9], "reward_std": [0.4, 0.01, 0.1, 0.2],
        "logit_grad_norm": [0.3, 0.001, 0.1, 0.1],
    })  # fmt: skip
    write_table(runs[0].folder.table("per_input"), table)
    found = texts.inputs(runs, labels(runs))
    assert [(row["run"].rpartition(": ")[2], row["prompt"], row["mean"]) for row in found] == [
        ("after 0 epochs", "training input 1", -1.0), ("after 0 epochs", "training input 0", 0.5),
        ("after 2 epochs", "training input 1", -0.9), ("after 2 epochs", "training input 0", 0.9),
    ]  # fmt: skip
    assert found[0]["outputs"].startswith("changed label")
    runs[0].folder.table("per_input").write_bytes(b"half")
    assert texts.inputs(runs, labels(runs)) == []


def test_curves_name_what_their_runs_count(tmp_path: Path) -> None:
    """Iterations of reinforcement finetuning, else steps, or epochs where there are none."""
    kinds: dict[str, tuple[dict[str, Any], list[str]]] = {
        "rl": ({"train_evaluation": {"n_iters": 2}, "alg": {"id": "grpo"}}, ["step", "epoch"]),
        "sft": ({"alg": {"id": "supervised"}}, ["step", "epoch"]),
        "classifier": ({"opt_method": "supervised"}, ["epoch"]),
    }
    runs = []
    for name, (keys, counters) in kinds.items():
        rows = [dict.fromkeys(counters, i) | {"reward": 0.5, f"of {name}": 1.0} for i in (1, 2)]
        folder = RunFolder(text_run(tmp_path / name, rows, **keys))
        row = {"name": name, "stage": name, "repetition": "0", "folder": name, "status": "done"}
        runs.append(ReportRun(folder, row, {"status": "done"}, text_config(**keys)))
    charts = Learning.of(runs, labels(runs)).charts("curve").values()
    titles = {
        chart["title"]["text"]: chart["layer"][1]["encoding"]["x"]["title"] for chart in charts
    }
    assert titles == {
        "reward": "iteration or step or epoch", "of rl": "iteration", "of sft": "step",
        "of classifier": "epoch",
    }  # fmt: skip
