"""The plans of lm-human-preferences: all published values, and both phases with tiny models."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from common.experiment import EXPERIMENTS
from common.plan.load import load_plan
from common.run.folder import read_json_lines
from tests.conftest import PROJECT, Workplace
from tests.grue.conftest import TEXTS, save_model

pytestmark = pytest.mark.usefixtures("nothing_missing")  # plans name the data, not the packages
PLANS = PROJECT / "experiment_plans/preferences"
STYLE = {
    "query_length": 64, "response_length": 24, "prefix": "", "suffix": "", "context": 64,
    "truncate": (13, 16), "temperature": 0.7, "labels": 4992, "reward_batch": 32,
    "reward_lr": 5e-5, "rollout_batch": 512, "normalize": 512, "lr": 1e-5, "batch": 512,
    "updates": 1954, "whiten": True, "kl": (0.15, 6.0, 10_000),
}  # fmt: skip
SUMMARY = {
    "query_length": 500, "response_length": 75, "suffix": "\n\nTL;DR:", "truncate": (198, 55),
    "labels": 46_000, "reward_batch": 16, "reward_lr": 2.5e-5, "rollout_batch": 128,
    "normalize": 256, "lr": 2e-6, "batch": 32, "updates": 31_250, "whiten": False,
}  # fmt: skip
PUBLISHED: dict[str, dict[str, Any]] = {
    "sentiment": STYLE | {"task": "books", "file": "sentiment/offline_5k.json"},
    "descriptiveness": STYLE | {"task": "books", "file": "descriptiveness/offline_5k.json"},
    "cnndm": SUMMARY | {"task": "cnndm_queries", "file": "cnndm/online_45k.json", "context": 509,
                        "prefix": "Article:\n\n", "temperature": 0.5, "kl": (0.01, None, None)},
    "tldr": SUMMARY | {"task": "tldr_queries", "file": "tldr/online_45k.json", "context": 506,
                       "prefix": "", "temperature": 0.7, "kl": (0.03, None, None)},
}  # fmt: skip


def configurations(name: str, workplace: Workplace) -> dict[str, Any]:
    """The resolved configuration of each stage."""
    outcome = workplace.run_plan(PLANS / f"{name}.json", "--dry_run")
    assert outcome.status == 0, outcome.err
    runs = load_plan(PLANS / f"{name}.json", EXPERIMENTS).runs
    return {run.stage: run.config.model_dump() for run in runs}


@pytest.mark.parametrize("name", PUBLISHED)
def test_both_phases_have_the_published_values(name: str, workplace: Workplace) -> None:
    found, expected = configurations(name, workplace), PUBLISHED[name]
    reward, policy = found["rm"], found["policy"]
    args = reward["datapool"]["args"]
    assert (args["hub_file"], args["num_train"]) == (expected["file"], expected["labels"])
    assert expected["labels"] % expected["reward_batch"] == 0
    training = reward["alg"]["training_args"]
    assert training["per_device_train_batch_size"] == expected["reward_batch"]
    assert training["learning_rate"] == expected["reward_lr"]
    assert (training["num_train_epochs"], training["adam_epsilon"]) == (1, 1e-5)
    assert training["max_grad_norm"] == 0
    assert (reward["alg"]["loss"]["id"], reward["separator"]) == ("best_of_n", "")
    assert not reward["alg"]["dropout"]
    normalize = reward["normalize"]
    assert normalize["before"] and normalize["after"]
    assert normalize["num_samples"] == expected["normalize"]
    assert normalize["batch_size"] == expected["rollout_batch"]
    assert normalize["generation_kwargs"]["truncate_token"] is None

    for datapool in (policy["datapool"], normalize["datapool"]):
        assert datapool["id"] == expected["task"]
        assert datapool["args"]["query_length"] == expected["query_length"]
    own, alg = policy["alg"]["policy"]["args"], policy["alg"]
    for texts in ((own["query_prefix"], own["query_suffix"]),
                  (normalize["prompt_prefix"], normalize["prompt_suffix"])):  # fmt: skip
        assert texts == (expected["prefix"], expected["suffix"])
    for settings in (own["generation_kwargs"], normalize["generation_kwargs"]):
        assert settings["max_new_tokens"] == expected["response_length"]
        assert settings["temperature"] == expected["temperature"]
        assert settings["ignore_eos"] and settings["do_sample"]
        assert (settings["top_k"], settings["top_p"]) == (0, 1.0)
    settings = own["generation_kwargs"]
    assert (settings["truncate_token"], settings["truncate_after"]) == expected["truncate"]
    env = policy["env"]
    assert env["args"]["penalty_reward_value"] == -1
    assert env["args"]["max_prompt_length"] == expected["context"]
    assert env["args"]["max_episode_length"] == expected["response_length"]
    assert env["n_envs"] == expected["batch"]
    assert policy["train_evaluation"]["n_iters"] == expected["updates"]
    ppo = {"learning_rate": expected["lr"], "whiten_rewards": expected["whiten"], "n_epochs": 4,
           "nminibatches": 4, "clip_range": 0.2, "clip_range_vf": 0.2, "vf_coef": 0.1, "gamma": 1.0,
           "gae_lambda": 0.95, "max_grad_norm": None, "learning_rate_schedule": "linear",
           "ent_coef": 0.0}  # fmt: skip
    assert {key: alg["args"][key] for key in ppo} == ppo
    kl, adaptive = alg["kl_div"], alg["kl_div"]["adaptive_kl"] or {}
    assert (kl["coeff"], adaptive.get("target"), adaptive.get("horizon")) == expected["kl"]
    assert (alg["policy"]["critic"], alg["policy"]["critic_head"]) == ("shared", "zero")
    assert own["optimizer"] == reward["alg"]["optimizer"] == "adam_tensorflow"
    assert (own["optimizer_kwargs"], own["weight_decay"]) == ({"eps": 1e-5}, 0)
    assert policy["random_seed"] == reward["random_seed"] == 1


def labels(tokenizer: PreTrainedTokenizerFast, count: int) -> list[dict[str, Any]]:
    """Published rows of token ids, filled up with an id outside the vocabulary."""
    draw, beyond = random.Random(0), len(tokenizer) + 2
    rows = []
    for _ in range(count):
        query = tokenizer(draw.choice(TEXTS))["input_ids"]
        samples = [[draw.randrange(200) for _ in range(5)] + [beyond] for _ in range(4)]
        row = {f"sample{i}": sample for i, sample in enumerate(samples)}
        rows.append({"query": [*query, *[beyond] * 8], "best": draw.randrange(4), **row})
    return rows


def in_small(name: str, model: Path, folder: Path) -> Path:
    """The plan with local files, and so few steps that it takes seconds."""
    document = json.loads((PLANS / f"{name}.json").read_text().replace('"gpt2"', f'"{model}"'))
    reward, policy = (entry["base_config"] for entry in document["configurations"])
    reward["datapool"]["args"] = {"path": str(folder / "labels.json"), "num_train": 32,
                                  "token_ids_of": str(model)}  # fmt: skip
    reward["normalize"]["num_samples"] = 20
    reward["alg"]["training_args"]["logging_steps"] = 1
    for datapool in (policy["datapool"], reward["normalize"]["datapool"]):
        datapool["args"] |= {"path": str(folder / "texts.jsonl"), "tokenizer": str(model),
                             "query_length": 20, "num_held_out": 2}  # fmt: skip
        if datapool["id"] == "books":
            datapool["args"] |= {"start_text": None, "end_text": None, "rows_per_text": 1}
        else:
            datapool["args"]["fix_unicode"] = False
    own = policy["alg"]["policy"]["args"]
    own["generation_kwargs"] |= {"max_new_tokens": 6, "truncate_token": "*", "truncate_after": 2}
    reward["normalize"]["generation_kwargs"]["max_new_tokens"] = 6
    policy["env"]["args"] |= {"max_prompt_length": 50, "max_episode_length": 6}
    reward["normalize"]["max_prompt_length"] = 50
    policy["env"]["n_envs"] = 32
    policy["train_evaluation"] |= {"n_iters": 2, "eval_every": 1}
    document["figures"] = []
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("name", ["sentiment", "cnndm"])
def test_both_phases_run_in_small(
    name: str, workplace: Workplace, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = save_model(workplace.path / "model", tokenizer)
    (workplace.path / "labels.json").write_text(json.dumps(labels(tokenizer, 40)))
    column = {"sentiment": "text", "cnndm": "article"}[name]
    texts = [{column: f"{text} {number}"} for number in range(4) for text in TEXTS]
    (workplace.path / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in texts))
    outcome = workplace.run_plan(in_small(name, model, workplace.path))
    assert outcome.status == 0, outcome.err
    (rows,) = (
        read_json_lines(path)
        for path in workplace.path.rglob("metrics.jsonl")
        if "policy" in path.parent.name
    )
    trained = [row for row in rows if "objective/score" in row]
    assert len(trained) == 2
    assert trained[0]["objective/kl"] == pytest.approx(0, abs=1e-4)
    coefficients = [row["objective/kl_coef"] for row in trained]
    moved = 0.15 * (1 - 0.2 * 32 / 10_000) if name == "sentiment" else 0.01
    assert coefficients[1] == pytest.approx(moved)
