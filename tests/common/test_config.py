from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import Field, Strict

from common.config.base import INPUT_FILE, Config, OptionalText
from common.config.meanings import SchemaWithMeanings
from common.config.resolve import resolve
from common.key_paths import assign
from common.packages import pip_install
from sft_vs_rft.config import ControlledConfig


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lrr": 1e-4}, "'lrr' = 0.0001: unknown key; did you mean 'lr'?"),
        ({"lr": "0.1"}, "'lr' = '0.1': expected a number; remove the quotes"),
        ({"lr": "fast"}, "'lr' = 'fast': expected a number"),
        ({"lr": -1}, "'lr' = -1: must be greater than 0"),
        ({"lr": float("nan")}, "'lr' = NaN: expected a finite number"),
        ({"epochs": 1.5}, "'epochs' = 1.5: expected a whole number"),
        ({"epochs": True}, "'epochs' = true: expected a whole number"),
        ({"diagnostics": "yes"}, "'diagnostics' = 'yes': expected true or false"),
        ({"mlp_hidden_layer_sizes": 3}, "'mlp_hidden_layer_sizes' = 3: expected a list in [ ]"),
        (
            {"mlp_hidden_layer_sizes": [0]},
            "'mlp_hidden_layer_sizes[0]' = 0: must be greater than 0",
        ),
        (
            {"opt_method": "expected_reward"},
            "'opt_method' = 'expected_reward': unknown; did you mean 'expected_reinforce'?; known: "
            "supervised, reinforce, expected_reinforce",
        ),
        ({"random_seed": -2}, "'random_seed' = -2: must be greater than or equal to 0"),
        (
            {"score_metric_name": "train los"},
            "'score_metric_name' = 'train los': this run writes no such metric; did you mean "
            "'train loss'?",
        ),
        (
            {"load_model_from_checkpoint": "ADD PATH TO CHECKPOINT"},
            "'load_model_from_checkpoint' = 'ADD PATH TO CHECKPOINT': put the path of",
        ),
        ({"dataset": "npz"}, "'data_path' = null: dataset 'npz' needs the path of a file here"),
        (
            {"num_labels_per_sample": 10, "frac_samples_to_modify_labels": 0.1},
            "'num_labels_per_sample' = 10: leaves no class to change a label to",
        ),
        ({"num_labels_per_sample": 11}, "'num_labels_per_sample' = 11: cifar10 has 10 classes"),
        (
            {"use_multiple_labels_per_sample": True},
            "'use_multiple_labels_per_sample' = true: needs 'num_labels_per_sample' above 1",
        ),
    ],
)
def test_a_bad_value_is_named_with_key_value_and_fix(values: dict[str, Any], message: str) -> None:
    config, problems = resolve(ControlledConfig, values)
    assert config is None
    assert any(str(problem).startswith(message) for problem in problems), list(map(str, problems))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"early_stop": True, "early_stop_patience": 7}, None),
        ({"early_stop": True, "early_stop_patience": 8}, "'early_stop_patience' = 8: training "
         "never ends early: that takes 10 checks before the last epoch, and 'epochs' = 10 with "
         "'validate_every' = 1 leave 9; lower it, or raise 'epochs'"),
        ({"early_stop_patience": 9, "early_stop_cooldown": 10}, None),
        ({"early_stop": True, "early_stop_patience": 9, "early_stop_restore_best_weights": True},
         None),
        ({"early_stop": True, "early_stop_cooldown": 7}, None),
        ({"early_stop": True, "early_stop_cooldown": 8}, "'early_stop_cooldown' = 8: training "
         "never ends early: that takes 2 checks before the last epoch, and 'epochs' = 10 with "
         "'validate_every' = 1 leave 1; lower it"),
        ({"early_stop": True, "early_stop_cooldown": 9, "early_stop_restore_best_weights": True},
         None),
        ({"early_stop": True, "early_stop_patience": 1, "validate_every": 4},
         "'early_stop_patience' = 1: training never ends early: that takes 3 checks before the "),
        ({"save_checkpoints": True, "validate_every": 5, "save_every_num_val": 2}, None),
        ({"save_checkpoints": True, "validate_every": 5, "save_every_num_val": 3},
         "'save_every_num_val' = 3: no further checkpoint is kept: the first one is due after 15 "
         "of 'epochs' = 10; lower it, or 'validate_every'"),
        ({"validate_every": 99, "theory_every": 99, "epoch_log_interval": 99}, None),
    ],
)  # fmt: skip
def test_schedules_beyond_the_last_epoch_are_told(values: dict[str, Any], told: str | None) -> None:
    config, problems = resolve(ControlledConfig, {"epochs": 10, **values})
    assert not problems and config is not None
    found = list(config.notices())
    assert len(found) == (told is not None)
    assert told is None or found[0].startswith(told)


def test_all_problems_are_found_at_once() -> None:
    _, problems = resolve(ControlledConfig, {"lr": "0.1", "epochs": 0, "optimiser": "adam"})
    assert {problem.key for problem in problems} == {"lr", "epochs", "optimiser"}


def test_a_whole_number_is_a_number() -> None:
    config, _ = resolve(ControlledConfig, {"lr": 1, "min_reward": -1})
    assert config is not None
    assert config.lr == 1.0


def test_every_key_is_documented() -> None:
    properties = ControlledConfig.model_json_schema(schema_generator=SchemaWithMeanings)[
        "properties"
    ]
    assert [key for key, value in properties.items() if not value.get("description")] == []


def test_missing_writers_name_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config, problems = resolve(ControlledConfig, {"use_tensorboard": True, "use_wandb": True})
    assert config is not None, problems  # the keys are right; it is the machine that lacks them
    assert [str(problem) for problem in config.missing()] == [
        f"'use_tensorboard' = true: needs the package 'tensorboard': {pip_install('tensorboard')}",
        f"'use_wandb' = true: needs the package 'wandb': {pip_install('wandb')}",
    ]


class Part(Config):
    weights: Annotated[OptionalText, INPUT_FILE] = None
    note: str = ""


class Whole(Config):
    parts: Annotated[tuple[Part, ...], Strict(False)] = ()
    named: dict[str, Part] = Field(default_factory=dict)
    files: Annotated[tuple[str, ...], Strict(False), INPUT_FILE] = ()
    note: str = ""


def test_input_files_are_found_in_nested_configurations_and_nowhere_else() -> None:
    config, _ = resolve(
        Whole,
        {
            "parts": [{"note": "x"}, {"weights": "a", "note": "x"}],
            "named": {"b": {"weights": "b"}, "none": {"weights": ""}},
            "files": ["c", "d"],
            "note": "x",
        },
    )
    assert config is not None
    found = dict(config.marked_values(INPUT_FILE))
    assert found == {
        ("parts", 1, "weights"): "a",
        ("named", "b", "weights"): "b",
        ("files", 0): "c",
        ("files", 1): "d",
    }
    dumped = config.model_dump(mode="json")
    for key in found:
        assign(dumped, key, "new")
    again, _ = resolve(Whole, dumped)
    assert again is not None
    assert dict(again.marked_values(INPUT_FILE)) == dict.fromkeys(found, "new")


def test_a_path_may_begin_with_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_DATA", "/data")
    monkeypatch.delenv("NO_DATA", raising=False)
    values = {"files": ["$SOME_DATA/a", "b$SOME_DATA"], "note": "$SOME_DATA"}
    config, _ = resolve(Whole, {**values, "parts": [{"weights": "$SOME_DATA"}]})
    assert config is not None
    assert config.files == ("/data/a", "b$SOME_DATA")
    assert (config.parts[0].weights, config.note) == ("/data", "$SOME_DATA")
    _, problems = resolve(Whole, {"parts": [{"weights": "$NO_DATA/a"}]})
    assert [str(problem) for problem in problems] == [
        "'parts[0].weights' = '$NO_DATA/a': the environment variable NO_DATA is not set; set it, "
        "or write the path out"
    ]


def test_a_shell_reads_the_command_that_installs_a_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/some where/python")
    command = pip_install("math-verify[antlr4_13_2]")
    assert command == "'/some where/python' -m pip install 'math-verify[antlr4_13_2]'"
