"""Reinforcement finetuning: it learns, writes what it did, and goes on with equal results."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from common.run.folder import RunFolder, read_json_lines
from tests.conftest import Workplace
from tests.grue.conftest import encoder_decoder, save_model, write
from tests.grue.parts import ANIMALS, LETTERS, OVERLAP
from tests.grue.stopping import assert_equal_models, stopped_and_whole

SAMPLED = {"do_sample": True, "top_k": 0, "max_new_tokens": 6}


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def reinforcement(model: Path, algorithm: str = "ppo", **changes: Any) -> dict[str, Any]:
    """A configuration; keys of ``changes`` are dotted paths with ``__`` for the dot."""
    base: dict[str, Any] = {
        "experiment": "grue_finetune",
        "experiment_name": algorithm,
        "random_seed": 5,
        "no_eval_on_train_set": True,
        "tokenizer.model_name": str(model),
        "datapool.id": ANIMALS,
        "reward_fn.id": LETTERS,
        "env.n_envs": 8,
        "env.args": {"max_prompt_length": 10, "max_episode_length": 6, "terminate_on_eos": True},
        "alg.id": algorithm,
        "alg.args.learning_rate": 0.003,
        "alg.kl_div": {"coeff": 0.01},
        "alg.policy.id": "causal_lm_actor_critic_policy",
        "alg.policy.args.model_name": str(model),
        "alg.policy.args.generation_kwargs": SAMPLED,
        "train_evaluation.eval_batch_size": 8,
        "train_evaluation.n_iters": 10,
        "train_evaluation.eval_every": 4,
        "train_evaluation.metrics": [{"id": OVERLAP}],
    }
    if algorithm in ("ppo", "nlpo"):
        base |= {"alg.args.n_steps": 16, "alg.args.batch_size": 32, "alg.args.n_epochs": 3}
    return base | {key.replace("__", "."): value for key, value in changes.items()}


def rows_of(folder: RunFolder) -> list[dict[str, Any]]:
    return read_json_lines(folder.metrics)


def rewards_of(folder: RunFolder) -> list[float]:
    return [row["rollout_info/ep_rew"] for row in rows_of(folder) if "rollout_info/ep_rew" in row]


def test_ppo_raises_the_reward(workplace: Workplace, model: Path) -> None:
    assert workplace.run_plan(write(workplace, reinforcement(model))).status == 0
    rewards = rewards_of(workplace.folders()[0])
    assert len(rewards) == 10
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1


MASKED = {
    "alg__policy__id": "maskable_causal_lm_actor_critic_policy",
    "alg__policy__args__mask_type": "learned_top_p",
    "alg__policy__args__top_mask": 0.9,
    "alg__policy__args__min_tokens_to_keep": 10,
    "alg__policy__args__target_update_iterations": 2,
}


TRUSTED = {
    "alg__args__n_steps": 24,
    "alg__args__batch_size": 64,
    "alg__args__target_kl": 0.2,
    "alg__args__cg_max_steps": 3,
    "alg__args__n_critic_updates": 2,
    "train_evaluation__n_iters": 12,
}


@pytest.mark.parametrize("algorithm", ["nlpo", pytest.param("trpo", marks=pytest.mark.slow)])
def test_encoder_decoder_models_learn_too(
    workplace: Workplace, tmp_path: Path, tokenizer: PreTrainedTokenizerFast, algorithm: str
) -> None:
    model = tmp_path / "model"
    encoder_decoder("t5", len(tokenizer)).save_pretrained(model)
    tokenizer.save_pretrained(model)
    own = {"nlpo": MASKED, "trpo": TRUSTED}
    run = reinforcement(model, algorithm, **own[algorithm])
    run["alg.policy.id"] = run["alg.policy.id"].replace("causal_lm", "seq2seq_lm")
    assert workplace.run_plan(write(workplace, run)).status == 0
    rewards = rewards_of(workplace.folders()[0])
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1


@pytest.mark.parametrize(
    "algorithm", ["a2c", "reinforce", pytest.param("nlpo", marks=pytest.mark.slow), "trpo"]
)
def test_other_algorithms_raise_it_too(workplace: Workplace, model: Path, algorithm: str) -> None:
    own: dict[str, dict[str, Any]] = {
        "a2c": {
            "alg__args__n_steps": 16,
            "alg__args__learning_rate": 0.0005,
            "train_evaluation__n_iters": 40,
        },
        "reinforce": {"alg__args__learning_rate": 0.01, "env__n_envs": 6},
        "nlpo": {**MASKED, "alg__args__learning_rate": 0.006, "train_evaluation__n_iters": 18},
        "trpo": TRUSTED,
    }
    run = reinforcement(model, algorithm, **{"train_evaluation__n_iters": 25} | own[algorithm])
    assert workplace.run_plan(write(workplace, run)).status == 0
    rewards = rewards_of(workplace.folders()[0])
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.1


def test_all_that_happened_is_in_the_metrics(workplace: Workplace, model: Path) -> None:
    short = {"train_evaluation__n_iters": 6, "env__n_envs": 3}
    runs = [
        reinforcement(model, "reinforce", train_evaluation__eval_test_set=often, **short)
        for often in (False, True)
    ]
    assert workplace.run_plan(write(workplace, *runs)).status == 0
    for folder in workplace.folders():
        often = json.loads(folder.config.read_text())["train_evaluation"]["eval_test_set"]
        rows = rows_of(folder)
        assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 5, 6, 6]
        assert [row["step"] for row in rows if "val/lexical/overlap" in row] == [0, 4, 6]
        tested = [row["step"] for row in rows if "test/lexical/overlap" in row]
        assert tested == ([0, 4, 6] if often else [0, 6])
    for row in rows[1:-1]:
        assert {"rollout_info/ep_rew", "rollout_info/kl_coeff", "reward_std/per_input_mean",
                "reward_std/frac_zero", "update_share/kl_and_entropy"} <= set(row)  # fmt: skip
        assert 0 <= row["update_share/kl_and_entropy"] <= 1


def test_rewards_of_an_input_deviate_where_it_has_several_outputs(
    workplace: Workplace, model: Path
) -> None:
    keys = {"train_evaluation__n_iters": 1, "env__n_envs": 4}
    runs = [
        reinforcement(model, "ppo", experiment_name=f"of_{count}",
                      alg__args__num_samples_per_input=count, **keys)
        for count in (1, 4)
    ]  # fmt: skip
    assert workplace.run_plan(write(workplace, *runs)).status == 0
    one, four = (rows_of(folder)[1] for folder in sorted(workplace.folders(), key=str))
    assert "reward_std/per_input_mean" not in one
    assert four["reward_std/per_input_mean"] > 0
    used = "rollout_info/num_used_tokens"
    assert four[used] == 4 * one[used]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "signal"), [("ppo", "SIGINT"), ("ppo", "SIGKILL"), ("nlpo", "SIGINT")]
)
def test_a_stopped_run_ends_with_equal_results(
    workplace: Workplace, model: Path, algorithm: str, signal: str
) -> None:
    own = MASKED if algorithm == "nlpo" else {}
    make = partial(reinforcement, model, algorithm, alg__kl_div__target_kl=0.1,
                   train_evaluation__save_every=3, train_evaluation__eval_test_set=True,
                   **own)  # fmt: skip
    assert_equal_models(*stopped_and_whole(workplace, make, signal=signal))


def test_prompts_and_outputs_fit_into_the_models_positions(
    workplace: Workplace, model: Path
) -> None:
    limits = {"max_prompt_length": 60, "max_episode_length": 6}
    run = reinforcement(model, "reinforce", env__args=limits, train_evaluation__n_iters=1,
                        datapool__args={"long_prompt": True}, env__n_envs=40,
                        alg__args__inputs_in_order=True)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    told = "prompts are cut to 58 tokens, not to 60: the model has 64 positions"
    assert folder.log.read_text().count(told) == 1
