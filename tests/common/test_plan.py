from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.errors import ConfigError, UserError
from common.experiment import EXPERIMENTS
from common.plan import Plan, load_plan
from common.templates import file_name, fill
from tests.conftest import PROJECT, TOY


def load(tmp_path: Path, *configurations: Any, overrides: Any = None, **keys: Any) -> Plan:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"experiment": TOY, **keys, "configurations": configurations}))
    return load_plan(path, EXPERIMENTS, overrides=overrides)


def problems_of(tmp_path: Path, *configurations: Any, **keys: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, *configurations, **keys)
    return str(caught.value)


def values(plan: Plan, *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(getattr(run.config, key) for key in keys) for run in plan.runs]


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


def test_overriding_a_seed_key_leaves_the_others_moving(tmp_path: Path) -> None:
    configuration = {"base_config": {"dataset": "digits", "model_type": "mlp"}, "seeds": [1, 2]}
    plan = load(tmp_path, configuration, experiment="sft_vs_rft", overrides={"random_seed": 9})
    assert values(plan, "random_seed", "init_rnd_seed") == [(9, 1), (9, 2)]


def test_seeds_can_be_overridden(tmp_path: Path) -> None:
    plan = load(tmp_path, {"seeds": [1, 2, 3]}, overrides={"seeds": [8]})
    assert values(plan, "random_seed") == [(8,)]


def test_templates_see_values_as_the_plan_writes_them(tmp_path: Path) -> None:
    base = {"experiment_name": "lr_{lr}_wait_{pause}_{epochs}", "lr": 0, "pause": 0.5}
    text = problems_of(tmp_path, {"base_config": {**base, "lrr": 1}})
    assert "unknown key" in text
    plan = load(tmp_path, {"base_config": {**base, "lr": 1}})
    assert plan.runs[0].config.experiment_name == "lr_1_wait_0.5_100"
    assert plan.runs[0].name == "lr_1_wait_0-5_100"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{a}_{b}", "0_[1, 2]"),
        ("{a:03d}", "000"),
        ("{{a}}", "{a}"),
        ("no template", "no template"),
    ],
)
def test_fill(text: str, expected: str) -> None:
    assert fill(text, {"a": 0, "b": [1, 2]}) == expected


@pytest.mark.parametrize("text", ["{b}", "{a.real}", "{a[0]}", "{a!r}", "{0}", "{}", "{a:{a}}", "{",
                                  "{a:%Q}"])  # fmt: skip
def test_templates_may_use_own_keys_and_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match="template"):
        fill(text, {"a": 0})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lr_0.001", "lr_0-001"),
        ("[250, 100]", "250-100"),
        ("a/b:c*?", "a-b-c--"),
        ("../x", "---x"),
        ("", "exp"),
        ("é" * 200, "é" * 75),
    ],
)
def test_names_are_safe_as_file_names(text: str, expected: str) -> None:
    assert file_name(text) == expected


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


def test_a_reference_enters_the_fingerprint_by_what_it_means(tmp_path: Path) -> None:
    def second(lr: float) -> str:
        stages = {"id": "a", "base_config": {"lr": lr}}, {"base_config": {"start": "@a.checkpoint"}}
        return load(tmp_path, *stages).runs[1].fingerprint

    assert second(1) != second(2)


def test_repetitions_refer_to_the_same_repetition(tmp_path: Path) -> None:
    plan = load(tmp_path, {"id": "a"}, {"base_config": {"start": "@a.checkpoint"}}, repetitions=2)
    pairs = [(run.repetition, run.references[0].run.repetition) for run in plan.runs[2:]]
    assert pairs == [(0, 0), (1, 1)]


STAGE = {"id": "a", "options": {"lr": [1, 2]}}


@pytest.mark.parametrize(
    ("configurations", "message"),
    [
        ([{"base_config": {"start": "@b.checkpoint"}}, {**STAGE}],
         "configurations[0]:\n  'start' = '@b.checkpoint': no configuration has the id 'b'; "
         "known: a"),
        ([STAGE, {"base_config": {"start": "@a.checkpoint"}}],
         "'start' = '@a.checkpoint': fits 2 runs of 'a': exp (lr=1), exp (lr=2); set 'lr' here "
         "too, to choose one"),
        ([STAGE, {"base_config": {"start": "@a.checkpoint", "lr": 3}}],
         "fits no run of 'a' with {'lr': 3}; its runs: exp (lr=1), exp (lr=2)"),
        ([STAGE, {"base_config": {"start": "@a.model", "lr": 1}}],
         "'a' leaves no file 'model'; known: checkpoint"),
        ([{"id": "a", "base_config": {"start": "@b.checkpoint"}},
          {"id": "b", "base_config": {"start": "@a.checkpoint"}}],
         "the stages wait for each other: a -> b -> a; break the ring"),
        ([{"id": "a", "base_config": {"start": "@a.checkpoint"}}],
         "the stages wait for each other: a -> a"),
        ([STAGE, {**STAGE, "base_config": {"epochs": 3}}], "two configurations have this id"),
        ([{"base_config": {"experiment_name": "{nmae}"}}],
         "'experiment_name' = '{nmae}': the template names an unknown key 'nmae'"),
        ([{}, {"base_config": {"experiment_name": "other"}}],
         "two runs would be one (fingerprint"),
        ([{"options": {"lr": 1}}], "'options.lr' = 1: expected a list in [ ]"),
        ([{"options": {"lr": []}}], "'options.lr' = []: an option needs at least one value"),
        ([{"option": {}}], "'option' = {}: unknown key; did you mean 'options'?"),
        ([{"experiment": "sft_vs_rtf"}], "unknown experiment; did you mean 'sft_vs_rft'?"),
        ([{"experiment": "custom:nowhere:X"}], "'nowhere:X' cannot be imported"),
        ([{"base_config": {"trainer_checkpoint": "none.pt"}}],
         "'trainer_checkpoint' = 'none.pt': no such file"),
        ([], "'configurations' = []"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(tmp_path: Path, configurations: list[Any], message: str) -> None:
    assert message in problems_of(tmp_path, *configurations)


def test_all_problems_come_in_one_message(tmp_path: Path) -> None:
    text = problems_of(tmp_path, {"base_config": {"lrr": 1}}, {"options": {"epochs": [1, "2", 0]}})
    assert text == (
        "plan.json, configurations[0]:\n"
        "  'lrr' = 1: unknown key; did you mean 'lr'?\n"
        "plan.json, configurations[1]:\n"
        "  'epochs' = '2': expected a whole number; remove the quotes\n"
        "  'epochs' = 0: must be greater than 0"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b" 2}', "plan.json, line 2, column 6: not valid JSON"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ("[1]", "expected a JSON object"),
        ('{"configurations": [{}], "name": 3}', "'name' = 3: expected text in quotes"),
        ('{"name": "x"}', "'configurations': this key is required"),
        ('{"configurations": [3]}', "expected an object in { }"),
    ],
)
def test_malformed_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        load_plan(path, EXPERIMENTS)
    assert message in str(caught.value)


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
        "from common.experiment import EXPERIMENTS; from common.plan import load_plan;"
        f"plan = load_plan(Path({str(path)!r}), EXPERIMENTS);"
        "assert len(plan.runs) == 10_010;"
        "assert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=PROJECT)
