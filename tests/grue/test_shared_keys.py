"""Keys of text runs that the configurations of a plan share, whose parts differ."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import grue  # noqa: F401  registers its experiments
from common.errors import ConfigError
from common.experiment import EXPERIMENTS
from common.plan.load import Plan, load_plan

BASE: dict[str, Any] = {
    "tokenizer": {"model_name": "m"},
    "datapool": {"id": "word_game", "args": {"num_samples": 10}},
    "reward_fn": {"id": "increasing_numbers", "args": {"min_tokens": 5}},
    "env": {"n_envs": 2, "args": {"max_prompt_length": 4, "max_episode_length": 4}},
    "alg": {
        "id": "ppo",
        "args": {"n_steps": 4, "batch_size": 8, "n_epochs": 3, "learning_rate": 0.5},
        "kl_div": {"coeff": 0.0},
        "policy": {
            "id": "causal_lm_actor_critic_policy",
            "args": {
                "model_name": "m",
                "generation_kwargs": {"do_sample": True, "max_new_tokens": 4},
            },
        },
    },
    "train_evaluation": {"eval_batch_size": 4, "n_iters": 1, "eval_every": 1},
}
SUPERVISED = {
    "reward_fn": None,
    "alg": {"id": "supervised", "model_type": "causal", "model_name": "m"},
    "train_evaluation.generation_kwargs": {"max_new_tokens": 4},
}


def load(tmp_path: Path, *configurations: dict[str, Any], base: dict[str, Any] = BASE) -> Plan:
    path = tmp_path / "plan.json"
    document = {"experiment": "grue_finetune", "base_config": base}
    path.write_text(json.dumps({**document, "configurations": configurations}))
    return load_plan(path, EXPERIMENTS)


def test_settings_that_another_algorithm_lacks_are_left_out(tmp_path: Path) -> None:
    plan = load(tmp_path, {}, {"base_config": {"alg.id": "trpo"}})
    ppo, trpo = (run.config.alg.args for run in plan.runs)  # type: ignore[attr-defined]
    assert (ppo.n_epochs, ppo.learning_rate) == (3, 0.5)
    assert (trpo.batch_size, trpo.learning_rate) == (8, 0.5)
    assert not hasattr(trpo, "n_epochs")


def test_so_are_whole_objects(tmp_path: Path) -> None:
    plan = load(tmp_path, {}, {"base_config": SUPERVISED})
    assert plan.runs[1].written["alg"].keys() == {"id", "model_type", "model_name", "policy"}


def test_so_are_args_of_another_part(tmp_path: Path) -> None:
    plan = load(tmp_path, {}, {"base_config": {"reward_fn": {"id": "meteor"}}})
    first, second = (run.config.reward_fn.args for run in plan.runs)  # type: ignore[attr-defined]
    assert first["min_tokens"] == 5 and "min_tokens" not in second


def test_where_options_vary_the_algorithm_each_run_is_looked_at(tmp_path: Path) -> None:
    plan = load(tmp_path, {"options": {"alg.id": ["ppo", "trpo"]}})
    assert ["n_epochs" in run.written["alg"]["args"] for run in plan.runs] == [True, False]


def test_settings_of_an_extended_algorithm_too(tmp_path: Path) -> None:
    first = {
        "id": "ppo",
        "base_config": {"alg.args.clip_range": 0.3},
        "options": {"alg.args.n_epochs": [1, 2]},
    }
    plan = load(tmp_path, first, {"extends": "ppo", "base_config": {"alg.id": "trpo"}})
    names = [(run.config.alg.id, run.point) for run in plan.runs]  # type: ignore[attr-defined]
    assert names == [
        ("ppo", {"alg.args.n_epochs": 1}),
        ("ppo", {"alg.args.n_epochs": 2}),
        ("trpo", {}),
    ]


def test_an_inherited_option_leaves_where_a_key_in_its_objects_is_given(tmp_path: Path) -> None:
    first = {"id": "ppo", "options": {"alg.kl_div": [{"coeff": 0.1}, {"coeff": 0.2}]}}
    plan = load(tmp_path, first, {"extends": "ppo", "base_config": {"alg.kl_div.coeff": 0.3}})
    coeffs = [run.config.alg.kl_div.coeff for run in plan.runs]  # type: ignore[attr-defined]
    assert coeffs == [0.1, 0.2, 0.3]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"alg": {**BASE["alg"], "args": {**BASE["alg"]["args"], "n_epoch": 1}}},
         "'alg.args.n_epoch' = 1: unknown key; did you mean 'n_epochs'?"),
        ({"reward_fn": {"id": "increasing_numbers", "args": {"min_tokens": 5, "min": 1}}},
         "'reward_fn.args.min' = 1: unknown key; did you mean 'min_tokens'?"),
    ],
)  # fmt: skip
def test_a_setting_that_no_algorithm_knows_is_refused_once(
    tmp_path: Path, wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, {}, {"base_config": {"alg.id": "trpo"}},
             {"base_config": SUPERVISED}, base={**BASE, **wrong})  # fmt: skip
    assert str(caught.value) == f"plan.json, base_config:\n  {message}"


def test_what_one_algorithm_cannot_have_is_told_of_both(tmp_path: Path) -> None:
    base = {**BASE, "alg": {**BASE["alg"]}}
    base["alg"]["policy"] = {**BASE["alg"]["policy"], "mixed_precision": "bf16"}
    with pytest.raises(ConfigError, match=r"base_config under configurations\[1\]:\n.*float32"):
        load(tmp_path, {}, {"base_config": {"alg.id": "trpo"}}, base=base)


def test_an_override_reaches_the_parts_that_know_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    entries = [{}, {"base_config": {"reward_fn": {"id": "meteor"}}}]
    document = {"experiment": "grue_finetune", "base_config": BASE, "configurations": entries}
    path.write_text(json.dumps(document))
    plan = load_plan(path, EXPERIMENTS, overrides={"reward_fn.args.min_tokens": 9})
    assert plan.runs[0].config.reward_fn.args["min_tokens"] == 9  # type: ignore[attr-defined]
