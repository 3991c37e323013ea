"""A key in the wrong place, or of the wrong kind, is told where it belongs or what is known."""

from __future__ import annotations

import re
from typing import Any

import pytest

from common.config.resolve import resolve
from common.config.validation_messages import models_in
from common.key_paths import merged
from grue.algorithms.any_alg import BUILT_IN
from grue.experiments.finetune import other_trainers
from grue.experiments.finetune.config import FinetuneConfig
from tests.programs import PROJECT
from tests.tools import imported

PPO: dict[str, Any] = {
    "tokenizer": {"model_name": "m"},
    "datapool": {"id": "jsonl", "args": {"path": "rows.jsonl"}},
    "reward_fn": {"id": "meteor"},
    "env": {"n_envs": 2, "args": {"max_prompt_length": 8, "max_episode_length": 8}},
    "alg": {
        "id": "ppo",
        "args": {"n_steps": 8, "batch_size": 8, "n_epochs": 1},
        "kl_div": {"coeff": 0.1},
        "policy": {
            "id": "causal_lm_actor_critic_policy",
            "args": {
                "model_name": "m",
                "generation_kwargs": {"do_sample": True, "max_new_tokens": 4},
            },
        },
    },
    "train_evaluation": {"eval_batch_size": 1, "n_iters": 1, "eval_every": 1},
}
CUSTOM = {"alg.id": "custom:tests.grue.test_custom_parts:BestOf"}


def messages(changes: dict[str, Any]) -> list[str]:
    _, problems = resolve(FinetuneConfig, merged(PPO, changes))
    return [str(problem) for problem in problems]


def test_a_key_of_other_algorithms_is_not_suggested() -> None:
    (found,) = [text for text in messages({"alg.id": "reinforce"}) if "n_steps" in text]
    assert "mean 'n_steps'" not in found


def test_the_plan_is_sound() -> None:
    assert messages({}) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg.id": "reinforce", "alg.args.clip": 1}, "'alg.args.clip' = 1: unknown key; known: "
         "learning_rate, learning_rate_schedule, "),
        ({"alg.args.lerning_rate": 1}, "'alg.args.lerning_rate' = 1: unknown key; did you mean "
         "'learning_rate'?"),
        ({"alg.args.max_episode_length": 3}, "'alg.args.max_episode_length' = 3: unknown key here; "
         "it belongs at 'env.args.max_episode_length'"),
        ({"n_steps": 8}, "'n_steps' = 8: unknown key here; it belongs at 'alg.args.n_steps'"),
        ({"alg.args.kl_div": {"coeff": 0.2}}, "'alg.args.kl_div' = {'coeff': 0.2}: unknown key "
         "here; it belongs at 'alg.kl_div'"),
        ({"alg.generation_kwargs": {"top_k": 5}}, "'alg.generation_kwargs' = {'top_k': 5}: unknown "
         "key here; it belongs at 'alg.policy.args.generation_kwargs' or "
         "'train_evaluation.generation_kwargs'"),
        ({"alg.args.env": {"FOO": "1"}}, "'alg.args.env' = {'FOO': '1'}: unknown key; known: "
         "learning_rate, "),
        ({"env.bar": 3, "env.foo": 3}, "'env.foo' = 3: unknown key; the "
         "known ones are named above"),
        ({"env.foo": 3}, "'env.foo' = 3: unknown key; known: n_envs, args"),
        ({"datapool.args.foo": 3}, "'datapool.args.foo' = 3: unknown key; known: path, "),
        ({"datapool.args.num_train_samples": 3}, "'datapool.args.num_train_samples' = 3: unknown "
         "key here; it belongs beside 'args'"),
        ({"reward_fn.args.foo": 3}, "'reward_fn.args.foo' = 3: unknown key; known: "),
        ({"alg": "ppo"}, "'alg' = 'ppo': expected an object in { }, for example {\"id\": \"ppo\"}"),
        ({"tokenizer": "m"}, "'tokenizer' = 'm': expected an object in { }, for example "
         "{\"model_name\": \"m\"}"),
        ({"env": "x"}, "'env' = 'x': expected an object in { }"),
        ({"alg.policy": "p"}, "'alg.policy' = 'p': expected an object in { }, for example "
         "{\"id\": \"p\"}"),
        ({"alg.id": "supervised"}, "'alg.args' = {'n_steps': 8, 'batch_size': 8, 'n_epochs': 1}: "
         "unknown key; known: "),
        ({"reward_fn": {"id": "dates"}}, "'reward_fn.id' = 'dates': unknown reward; did you mean "
         "'sentences_with_dates'?"),
        ({"train_evaluation.metrics": [{"id": "sentences_with_dates"}]}, "'train_evaluation."
         "metrics[0].id' = 'sentences_with_dates': unknown metric; did you mean 'dates'?"),
        ({"train_evaluation.metrics": [{"id": "length", "args": {"target": 3}}]},
         "'train_evaluation.metrics[0].args.target' = 3: unknown key; nothing is set here"),
        ({"alg.args.learning_rate": "1e-3"}, "'alg.args.learning_rate' = '1e-3': expected a number;"
         " remove the quotes"),
        ({"alg.args.learning_rate": ".5"}, "'alg.args.learning_rate' = '.5': expected a number; "
         "write 0.5"),
        ({"alg.args.n_steps": "1e3"}, "'alg.args.n_steps' = '1e3': expected a whole number"),
        ({"alg.policy.args.generation_kwargs.truncate_token": 1.5}, "'alg.policy.args."
         "generation_kwargs.truncate_token' = 1.5: expected a whole number or text in quotes"),
        ({**CUSTOM, "alg.args.foo": 1}, "'alg.args.foo' = 1: unknown key; known: learning_rate, "),
    ],
)  # fmt: skip
def test_a_message_says_where_the_key_belongs_or_how_to_write_it(
    changes: dict[str, Any], message: str
) -> None:
    assert [found for found in messages(changes) if found.startswith(message)], messages(changes)


@pytest.mark.parametrize(
    ("algorithm", "name", "here"),
    [
        ("grpo", "num_generations", "'alg.args.num_samples_per_input' or "
         "'train_evaluation.num_samples_per_input'"),
        ("ppo", "lam", "'alg.args.gae_lambda'"),
        ("grpo", "epsilon_high", "'alg.args.clip_range_high'"),
        ("grpo", "loss_agg_mode", "'alg.args.aggregate'"),
        ("grpo", "kl_coef", "'alg.kl_div.coeff'"),
        ("ppo", "cliprange_value", "'alg.args.clip_range_vf'"),
        ("grpo", "max_completion_length", "'alg.policy.args.generation_kwargs.max_new_tokens' or "
         "'train_evaluation.generation_kwargs.max_new_tokens'"),
    ],
)  # fmt: skip
def test_a_name_of_another_trainer_is_told_what_it_is_here(
    algorithm: str, name: str, here: str
) -> None:
    found = messages({"alg.id": algorithm, f"alg.args.{name}": 1})
    assert f"'alg.args.{name}' = 1: unknown key; here it is called {here}" in found


def test_no_key_is_told_that_the_algorithm_does_not_have() -> None:
    (found,) = [text for text in messages({"alg.args.epsilon_high": 1}) if "epsilon_high" in text]
    assert "clip_range_high" not in found


def test_names_of_other_trainers_are_theirs_and_not_ours() -> None:
    trl = imported("trl")
    theirs = trl.GRPOConfig.__dataclass_fields__
    assert set(other_trainers.TRL) <= set(theirs)
    for name, algorithm in BUILT_IN.items():
        (args,) = models_in(algorithm.model_fields["args"].annotation)
        assert not set(other_trainers.NAMES) & set(args.model_fields), name


def test_the_documentation_lists_the_names_of_other_trainers() -> None:
    page = (PROJECT / "docs/text_runs.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\|([^|]*)\|$", page, re.MULTILINE)
    listed = [
        {name: key for key, *columns in rows for name in re.findall(r"`(\w+)`", columns[place])}
        for place in (0, 1)
    ]
    assert listed == [other_trainers.TRL, other_trainers.VERL]
