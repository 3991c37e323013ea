"""The plan of a drill: short runs of three kinds, in stages."""

from __future__ import annotations

from typing import Any

from tests.conftest import TINY_DIGITS

_OUTPUTS = {"max_new_tokens": 4, "do_sample": True, "top_k": 0}
_STORIES = {"id": "word_game", "args": {"kinds": ["story"], "num_samples": 60}}
_FEW = {"eval_batch_size": 20, "generation_kwargs": _OUTPUTS}
_MATCHES = {"id": "matches", "args": {"pattern": "a"}}
_TEXT = {"random_seed": 0, "tokenizer": {"model_name": "@new.model"}}


def document(controlled: int, text: int, *, length: int = 1, **keys: Any) -> dict[str, Any]:
    """The plan of ``4 controlled + 2 text`` runs, and the two that make their language model.

    Of the controlled runs, three of four begin with the weights of the fourth.

    Args:
        controlled: number of seeds of controlled runs.
        text: number of seeds of PPO, and of extraction.
        length: how long each run takes.
        keys: further keys of the plan.
    """
    return {
        "configurations": [*_language_model(), _ppo(text, length), _extraction(text, length),
                           *_controlled(controlled, length)],
        "multiprocess": True,
        "num_threads": 1,
        "max_attempts": 1000,
        **keys,
    }  # fmt: skip


def _language_model() -> list[dict[str, Any]]:
    new = {
        "experiment_name": "new", "random_seed": 0, "datapools": [_STORIES], "vocab_size": 280,
        "max_length": 32, "architecture": {"n_layer": 1, "n_embd": 16, "n_head": 1},
    }  # fmt: skip
    training = {"per_device_train_batch_size": 8, "max_steps": 2, "save_steps": 1}
    supervised = {
        "id": "supervised", "model_type": "causal", "model_name": "@new.model",
        "policy": {"init": "random"}, "training_args": training,
    }  # fmt: skip
    sft = {**_TEXT, "experiment_name": "sft", "alg": supervised, "datapool": _STORIES,
           "train_evaluation": _FEW}  # fmt: skip
    return [
        {"id": "new", "experiment": "grue_new_model", "base_config": new},
        {"id": "sft", "experiment": "grue_finetune", "base_config": sft},
    ]


def _ppo(seeds: int, length: int) -> dict[str, Any]:
    policy = {
        "id": "causal_lm_actor_critic_policy",
        "args": {"model_name": "@sft.model", "generation_kwargs": _OUTPUTS},
    }
    ppo = {"id": "ppo", "args": {"n_steps": 4, "batch_size": 8, "n_epochs": 1}, "policy": policy,
           "kl_div": {"coeff": 0.1}}  # fmt: skip
    lengths = {"max_prompt_length": 8, "max_episode_length": 4, "terminate_on_eos": True}
    base = {
        **_TEXT, "experiment_name": "ppo_{random_seed}", "alg": ppo, "datapool": _STORIES,
        "reward_fn": _MATCHES, "env": {"n_envs": 4, "args": lengths},
        "train_evaluation": {**_FEW, "n_iters": 6 * length, "eval_every": 2, "save_every": 1},
    }  # fmt: skip
    return _seeded("custom:tests.drills.often:FINETUNE", base, seeds)


def _extraction(seeds: int, length: int) -> dict[str, Any]:
    drawn = {"model_type": "causal", "model_name": "@sft.model", "generation_kwargs": _OUTPUTS}
    base = {
        **_TEXT, "experiment_name": "extract_{random_seed}", "alg": drawn, "datapool": _STORIES,
        "evaluation": {"eval_batch_size": 5, "num_samples_per_input": 8 * length,
                       "metrics": [_MATCHES]},
    }  # fmt: skip
    return _seeded("custom:tests.drills.often:EXTRACT", base, seeds)


def _controlled(seeds: int, length: int) -> list[dict[str, Any]]:
    base = {
        **TINY_DIGITS, "epochs": 25 * length, "lr": 0.01, "save_checkpoints": True,
        "num_checkpoints": 1, "experiment_name": "pretrain_{random_seed}",
    }  # fmt: skip
    pretrain = {**base, "use_multiple_labels_per_sample": True, "frac_samples_to_modify_labels": 0}
    finetune = {**base, "experiment_name": "{opt_method}_{random_seed}",
                "load_model_from_checkpoint": "@pretrain.checkpoint"}  # fmt: skip
    methods = ["supervised", "reinforce", "expected_reinforce"]
    experiment = "custom:tests.drills.often:CONTROLLED"
    return [
        {"id": "pretrain", **_seeded(experiment, pretrain, seeds)},
        {**_seeded(experiment, finetune, seeds), "options": {"opt_method": methods}},
    ]


def _seeded(experiment: str, base: dict[str, Any], seeds: int) -> dict[str, Any]:
    return {"experiment": experiment, "base_config": base, "seeds": list(range(seeds))}
