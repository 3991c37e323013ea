"""The JSON Schema and the program agree on what a plan may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import sft_vs_rft  # noqa: F401  registers its experiments
from common.errors import ConfigError
from common.experiment import EXPERIMENTS
from common.plan.load import load_plan
from common.plan.schema import SCHEMA_PATH, plan_schema


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(plan_schema(EXPERIMENTS))


def is_accepted(folder: Path, document: dict[str, Any]) -> bool:
    path = folder / "plan.json"
    path.write_text(json.dumps(document))
    try:
        load_plan(path, EXPERIMENTS)
    except ConfigError:
        return False
    return True


def test_the_schema_in_the_repository_is_the_programs() -> None:
    assert json.loads(SCHEMA_PATH.read_text()) == plan_schema(EXPERIMENTS), (
        "python run_plan.py --write_schema"
    )


SENTINELS: list[tuple[str, Any, Any]] = [
    ("random_seed", -1, None),
    ("samples_rnd_seed", -1, None),
    ("init_rnd_seed", -1, None),
    ("train_batch_log_interval", -1, None),
    ("epoch_log_interval", -1, None),
    ("save_every_num_val", -1, 1),
    ("trainer_checkpoint", "", None),
    ("wandb_project_name", "", None),
    ("wandb_entity_name", "", None),
    ("wandb_resume_id", "", None),
    ("wandb_exclude_files", "", ()),
    ("wandb_track_model", "", ""),
    ("score_metric_name", "", None),
    ("load_model_from_checkpoint", "", None),
    ("gpu_ids", [], ()),
    ("num_train_samples", -1, -1),
    ("change_label_per_class", True, True),
]


@pytest.mark.parametrize(("key", "written", "meaning"), SENTINELS, ids=[s[0] for s in SENTINELS])
def test_published_sentinels_fit_both_and_mean_not_given(
    key: str, written: Any, meaning: Any, validator: Draft202012Validator, tmp_path: Path
) -> None:
    for configuration in ({"base_config": {key: written}}, {"options": {key: [written]}}):
        document = {"configurations": [configuration]}
        assert is_accepted(tmp_path, document)
        validator.validate(document)
        (run,) = load_plan(tmp_path / "plan.json", EXPERIMENTS).runs
        assert getattr(run.config, key) == meaning


@pytest.mark.parametrize(
    ("fits", "changes"),
    [
        (True, {}),
        (True, {"seeds": [0, 1], "repetitions": 1, "set": {"epochs": 3}}),
        (True, {"figures": ["controlled_curves", {"figure": "controlled_curves", "x": 1}]}),
        (True, {"configurations": [{"options": {"epochs": [1, 2]}}]}),
        (False, {"configurations": [{"base_config": {"lrr": 0.1}}]}),
        (False, {"configurations": [{"base_config": {"lr": -1}}]}),
        (False, {"configurations": [{"base_config": {"opt_method": "x"}}]}),
        (False, {"configurations": [{"base_config": {"random_seed": -2}}]}),
        (False, {"configurations": [{"base_config": {"random_seed": ""}}]}),
        (False, {"configurations": [{"base_config": {"epoch_log_interval": 0}}]}),
        (False, {"configurations": [{"base_config": {"trainer_checkpoint": -1}}]}),
        (False, {"configurations": [{"base_config": {"wandb_exclude_files": 0}}]}),
        (False, {"configurations": [{"options": {"lr": 0.1}}]}),
        (False, {"configurations": [{"options": {"lr": []}}]}),
        (False, {"configurations": [{"seeds": []}]}),
        (False, {"configurations": [{"seeds": [2**32]}]}),
        (False, {"configurations": [{"id": "a b"}]}),
        (False, {"configurations": [{"experiment": "sft_vs_rft", "options": {"lrr": [1]}}]}),
        (False, {"configurations": []}),
        (False, {"configuration": [{}]}),
        (False, {"seeds": []}),
        (False, {"seeds": [-1]}),
        (False, {"figures": [3]}),
        (False, {"figures": [{"x": 1}]}),
        (False, {"figures": [{"figure": 3}]}),
        (False, {"set": []}),
        (False, {"skip": -1}),
        (False, {"repetitions": 0}),
        (False, {"gpu_ids_pool": [-1]}),
        (False, {"gpu_ids_pool": [0, 0]}),
        (False, {"seeds": [1, 1]}),
        (False, {"configurations": [{"options": {"lr": [0.1, 0.1]}}]}),
        (False, {"timeout_minutes": True}),
        (False, {"resources": {"memory_gb": True}}),
    ],
)  # fmt: skip
def test_what_the_program_refuses_the_schema_marks(
    fits: bool, changes: dict[str, Any], validator: Draft202012Validator, tmp_path: Path
) -> None:
    document = {"configurations": [{}], **changes}
    assert is_accepted(tmp_path, document) is fits
    assert validator.is_valid(document) is fits


TEXT_RUN: dict[str, Any] = {
    "tokenizer": {"model_name": "m"},
    "datapool": {"id": "word_game"},
    "alg": {
        "model_type": "causal",
        "model_name": "m",
        "generation_kwargs": {"do_sample": True, "max_new_tokens": 4},
    },
    "evaluation": {"eval_batch_size": 4, "metrics": [{"id": "rouge"}]},
}


@pytest.mark.parametrize(
    ("fits", "configuration"),
    [
        (True, {"base_config": TEXT_RUN}),
        (True, {"base_config": TEXT_RUN, "options": {"alg.model_name": ["a", "b"]}}),
        (True, {"base_config": {**TEXT_RUN, "alg.generation_kwargs.top_k": 0}}),
        (True, {"base_config": {"from": "base.yml", "alg": {"model_name": "a"}}}),
        (True, {"base_config": {"from": "base.yml", "alg.generation_kwargs.top_k": 0}}),
        (True, {"base_config": {"from": "base.yml"}, "options": {"published_format": [True]}}),
        (False, {"base_config": {**TEXT_RUN, "alg": {"model_name": "m"}}}),
        (False, {"base_config": {**TEXT_RUN, "tokenizer": {"model_name": "m", "side": "left"}}}),
        (False, {"base_config": {**TEXT_RUN, "evaluation": {"eval_batch_size": 0}}}),
        (False, {"base_config": {**TEXT_RUN, "env": {"n_envs": 2}}}),
        (False, {"base_config": {"from": "base.yml", "agl": {}}}),
        (False, {"base_config": {"from": "base.yml"}, "options": {"alg.model_name": []}}),
        (False, {"base_config": {"from": "base.yml"}, "options": {"agl": [1]}}),
    ],
)
def test_text_runs_whole_and_spread(
    fits: bool, configuration: dict[str, Any], validator: Draft202012Validator, tmp_path: Path
) -> None:
    (tmp_path / "base.yml").write_text(json.dumps(TEXT_RUN))
    document = {"experiment": "grue_extract", "configurations": [configuration]}
    assert is_accepted(tmp_path, document) is fits
    assert validator.is_valid(document) is fits


CHEAP = {"experiment": "grue_extract", "base_config": {"published_format": True}}


@pytest.mark.parametrize(
    ("fits", "changes"),
    [
        (True, {"configurations": [{}]}),
        (True, {"configurations": [{"base_config": {"alg": {"model_name": "n"}}}]}),
        (True, {"configurations": [{"base_config": {"alg.generation_kwargs.top_k": 0}}]}),
        (True, {"configurations": [{"id": "a"},
                                   {"extends": "a", "base_config": {"published_format": True}}]}),
        (True, {"base_config": {"from": "base.yml"}, "configurations": [{}]}),
        (True, {"base_config": {**TEXT_RUN, "alg.generation_kwargs.top_k": 0},
                "configurations": [CHEAP]}),
        (True, {"base_config": {**TEXT_RUN, "dataset": "mnist"},
                "configurations": [{}, {"experiment": "sft_vs_rft"}]}),
        (False, {"configurations": [{"base_config": {"agl": {}}}]}),
        (False, {"configurations": [{"options": {"agl": [1]}}]}),
        (False, {"configurations": [{"extends": 3}]}),
        (False, {"base_config": {**TEXT_RUN, "agl": {}}, "configurations": [{}]}),
        (False, {"base_config": [], "configurations": [{"base_config": TEXT_RUN}]}),
    ],
)  # fmt: skip
def test_a_base_of_the_plan(
    fits: bool, changes: dict[str, Any], validator: Draft202012Validator, tmp_path: Path
) -> None:
    (tmp_path / "base.yml").write_text(json.dumps(TEXT_RUN))
    document = {"experiment": "grue_extract", "base_config": TEXT_RUN, **changes}
    assert is_accepted(tmp_path, document) is fits
    assert validator.is_valid(document) is fits


def test_a_base_of_the_plan_may_have_keys_of_experiments_outside_the_project(
    validator: Draft202012Validator,
) -> None:
    document = {"base_config": {"own": 1}, "configurations": [{"experiment": "custom:mine:IT"}]}
    assert validator.is_valid(document)
    assert not validator.is_valid({**document, "configurations": [{}]})


def test_every_key_stands_once_and_is_described() -> None:
    schema = plan_schema(EXPERIMENTS)
    for name in EXPERIMENTS.names():
        model = EXPERIMENTS.get(name).config
        keys = schema["$defs"][model.__name__]["properties"]
        assert list(keys) == list(model.model_fields)
        for key, value in keys.items():
            named = schema["$defs"][value["$ref"].split("/")[-1]] if "$ref" in value else value
            assert named["description"], key
