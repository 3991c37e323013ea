from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Strict

from common.config.base import INPUT_FILE, Config, OptionalText
from common.config.run import RunConfig
from common.experiment import Experiment
from common.plan.load import load_plan
from common.plan.run import Run
from common.registry import Registry
from tests import toy
from tests.common.plans import load, values
from tests.conftest import PROJECT


def test_options_are_a_product_in_file_order_the_last_key_fastest(tmp_path: Path) -> None:
    plan = load(tmp_path, {"base_config": {"lr": 9}, "options": {"lr": [1, 2], "epochs": [3, 4]}})
    assert values(plan, "lr", "epochs") == [(1, 3), (1, 4), (2, 3), (2, 4)]


def test_a_seed_moves_all_seed_keys_together(tmp_path: Path) -> None:
    base = {"dataset": "digits", "model_type": "mlp"}
    plan = load(tmp_path, {"base_config": base, "seeds": [4, 5]}, experiment="sft_vs_rft")
    keys = ("random_seed", "samples_rnd_seed", "init_rnd_seed")
    assert values(plan, *keys) == [(4, 4, 4), (5, 5, 5)]


def test_seeds_of_the_plan_hold_for_configurations_without_their_own(tmp_path: Path) -> None:
    plan = load(tmp_path, {}, {"seeds": [7], "base_config": {"lr": 2}}, seeds=[1, 2])
    assert values(plan, "random_seed") == [(1,), (2,), (7,)]


def test_repetitions_move_a_given_seed_on_and_keep_the_first_folder(tmp_path: Path) -> None:
    base = {"base_config": {"random_seed": 10}}
    plan = load(tmp_path, base, repetitions=3)
    assert values(plan, "random_seed") == [(10,), (11,), (12,)]
    names = [run.folder.name for run in plan.runs]
    assert [name.endswith(f"-rep{k}") for k, name in enumerate(names)] == [False, True, True]
    assert load(tmp_path, base).runs[0].folder.name == names[0]


def test_repetitions_without_a_seed_draw_their_own(tmp_path: Path) -> None:
    plan = load(tmp_path, {}, repetitions=2)
    assert values(plan, "random_seed") == [(None,), (None,)]
    assert plan.runs[0].fingerprint != plan.runs[1].fingerprint


def test_overrides_win_and_an_overridden_option_leaves_the_product(tmp_path: Path) -> None:
    configuration = {"base_config": {"epochs": 1}, "options": {"lr": [1, 2], "pause": [0, 1]}}
    plan = load(tmp_path, configuration, overrides={"lr": 5, "epochs": 7})
    assert values(plan, "lr", "epochs", "pause") == [(5, 7, 0), (5, 7, 1)]
    assert plan.effective["set"] == {"lr": 5, "epochs": 7}


def test_the_plan_that_is_written_makes_the_same_runs(tmp_path: Path) -> None:
    """Seeds in every place, an override of an option, of a seed key and of a key of the plan."""
    base = {"dataset": "digits", "model_type": "mlp"}
    first = {"id": "a", "base_config": base, "options": {"lr": [1, 2]}, "seeds": [7]}
    second = {"base_config": {**base, "load_model_from_checkpoint": "@a.checkpoint"}}
    overrides = {"seeds": [1, 2], "random_seed": 9, "lr": 5, "repetitions": 2}
    plan = load(
        tmp_path, first, second, experiment="sft_vs_rft", set={"epochs": 3}, overrides=overrides
    )
    assert values(plan, "random_seed", "init_rnd_seed", "lr", "epochs")[:2] == [
        (9, 1, 5, 3), (10, 1, 5, 3)
    ]  # fmt: skip

    document = dict(plan.effective)
    again = load(tmp_path, *document.pop("configurations"), **document)
    runs = [[(run.folder, run.point, run.config) for run in p.runs] for p in (plan, again)]
    assert runs[0] == runs[1]
    assert len(runs[0]) == 8


def test_the_command_line_wins_over_what_the_plan_sets(tmp_path: Path) -> None:
    plan = load(tmp_path, {}, set={"lr": 1, "epochs": 2}, overrides={"lr": 3})
    assert values(plan, "lr", "epochs") == [(3, 2)]


def test_overriding_a_seed_key_leaves_the_others_moving(tmp_path: Path) -> None:
    configuration = {"base_config": {"dataset": "digits", "model_type": "mlp"}, "seeds": [1, 2]}
    plan = load(tmp_path, configuration, experiment="sft_vs_rft", overrides={"random_seed": 9})
    assert values(plan, "random_seed", "init_rnd_seed") == [(9, 1), (9, 2)]


def test_seeds_can_be_overridden(tmp_path: Path) -> None:
    plan = load(tmp_path, {"seeds": [1, 2, 3]}, overrides={"seeds": [8]})
    assert values(plan, "random_seed") == [(8,)]


def test_fingerprints_ignore_what_cannot_change_results(tmp_path: Path) -> None:
    def fingerprint(**base: Any) -> str:
        return load(tmp_path, {"base_config": base}).runs[0].fingerprint

    plain = fingerprint(lr=1)
    assert plain == fingerprint(lr=1.0, experiment_name="x", outputs_dir="y", gpu_ids=[0])
    assert plain == fingerprint(lr=1, epochs=100)  # the default, written out
    assert plain == fingerprint(lr=1, epoch_log_interval=7, random_seed=-1)
    assert plain != fingerprint(lr=2)
    assert plain != fingerprint(lr=1, random_seed=0)


def test_files_enter_the_fingerprint_by_content(tmp_path: Path) -> None:
    def fingerprint(name: str, content: str) -> str:
        (tmp_path / name).write_text(content)
        base = {"trainer_checkpoint": str(tmp_path / name)}
        return load(tmp_path, {"base_config": base}).runs[0].fingerprint

    assert fingerprint("a", "1") == fingerprint("b", "1") != fingerprint("b", "2")


def test_a_reference_means_the_run_that_agrees_on_shared_options(tmp_path: Path) -> None:
    first = {"id": "a", "options": {"lr": [1, 2], "epochs": [3, 4]}, "seeds": [0, 1]}
    second = {
        "id": "b",
        "base_config": {"start": "@a.checkpoint", "epochs": 3},
        "options": {"lr": [2, 1]},
        "seeds": [1],
    }
    plan = load(tmp_path, first, second)
    for run in plan.runs:
        if run.stage == "b":
            (reference,) = run.references
            source = reference.run.config
            assert (source.lr, source.epochs, source.random_seed) == (run.config.lr, 3, 1)
            assert reference.target == reference.run.folder / "checkpoints/last.pt"


def test_only_keys_of_input_files_hold_references(tmp_path: Path) -> None:
    base = {"experiment_name": "@a.b", "outputs_dir": "@x.y"}
    (run,) = load(tmp_path, {"base_config": base}, description="@d.e").runs
    assert (run.references, run.config.outputs_dir) == ([], "@x.y")


class Part(Config):
    weights: Annotated[OptionalText, INPUT_FILE] = None
    note: str = ""


class Nested(RunConfig):
    parts: Annotated[tuple[Part, ...], Strict(False)] = ()


def test_a_nested_configuration_refers_to_a_stage(tmp_path: Path) -> None:
    experiments: Registry[Experiment] = Registry("experiment")
    experiments.register("toy")(toy.EXPERIMENT)
    experiments.register("nested")(replace(toy.EXPERIMENT, config=Nested))
    path = tmp_path / "plan.json"

    def second(lr: float, note: str = "") -> Run:
        first = {"id": "a", "experiment": "toy", "base_config": {"lr": lr}}
        part = {"weights": "@a.checkpoint", "note": note}
        base = {"experiment": "nested", "base_config": {"parts": [{}, part]}}
        path.write_text(json.dumps({"configurations": [first, base]}))
        return load_plan(path, experiments).runs[1]

    (reference,) = second(1).references
    assert reference.key == ("parts", 1, "weights")
    assert second(1).fingerprint == second(1).fingerprint != second(2).fingerprint
    assert second(1, note="@nowhere.x").fingerprint != second(1).fingerprint


def test_a_reference_enters_the_fingerprint_by_what_it_means(tmp_path: Path) -> None:
    def second(lr: float) -> str:
        stages = {"id": "a", "base_config": {"lr": lr}}, {"base_config": {"start": "@a.checkpoint"}}
        return load(tmp_path, *stages).runs[1].fingerprint

    assert second(1) != second(2)


def test_repetitions_refer_to_the_same_repetition(tmp_path: Path) -> None:
    plan = load(tmp_path, {"id": "a"}, {"base_config": {"start": "@a.checkpoint"}}, repetitions=2)
    pairs = [(run.repetition, run.references[0].run.repetition) for run in plan.runs[2:]]
    assert pairs == [(0, 0), (1, 1)]


def test_ten_thousand_configurations_are_read_without_torch(tmp_path: Path) -> None:
    grid = {
        "base_config": {"dataset": "digits", "model_type": "mlp",
                        "experiment_name": "{lr}_{batch_size}",
                        "load_model_from_checkpoint": "@pre.checkpoint"},
        "options": {"lr": [1 + i for i in range(100)], "batch_size": list(range(1, 11))},
        "seeds": list(range(10)),
    }  # fmt: skip
    stage = {
        "id": "pre",
        "base_config": {"dataset": "digits", "model_type": "mlp"},
        "seeds": list(range(10)),
    }
    path = tmp_path / "big.json"
    path.write_text(json.dumps({"configurations": [stage, grid]}))
    program = (
        "import sys; from pathlib import Path; import sft_vs_rft;"
        "from common.experiment import EXPERIMENTS; from common.plan.load import load_plan;"
        f"plan = load_plan(Path({str(path)!r}), EXPERIMENTS);"
        "assert len(plan.runs) == 10_010;"
        "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)
