"""Reinforcement finetuning that cannot be: refused at once, or failed with what it had."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast

from common.config.base import Config
from common.errors import UserError
from common.run.folder import RunFolder, read_json_lines
from grue.models.config import ModelOptions, ModelType
from grue.models.loading import load_model
from grue.rewards.reward import Reward, Rewards
from grue.texts import Texts
from tests.conftest import Workplace
from tests.grue.conftest import causal_model, encoder_decoder, save_model, write
from tests.grue.test_reinforcement import SAMPLED, reinforcement


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


WRONG: dict[str, dict[str, Any]] = {
    r"'alg\.id' = 'ppoo': unknown; did you mean 'ppo'\?; known: .*reinforce": {"alg__id": "ppoo"},
    r"'alg\.policy\.id' = 'causal': unknown.*; known: .*seq2seq_lm_actor_critic_policy": {
        "alg__policy__id": "causal"
    },
    r"'reward_fn\.id' = 'meteo': unknown reward; did you mean 'meteor'\?; known: answer_given": {
        "reward_fn__id": "meteo"
    },
    r"batch_size' = 129: is more than the rollout has: n_steps x env\.n_envs = 16 x 8 tokens": {
        "alg__args__batch_size": 129
    },
    r"min_length' = 9: is more than the longest output \(6\)": {
        "alg__policy__args__generation_kwargs": {**SAMPLED, "min_length": 9}
    },
    r"do_sample' = false: must be true in rollouts": {
        "alg__policy__args__generation_kwargs": {"max_new_tokens": 6}
    },
    r"num_beams' = 3: rollouts sample each output separately; for evaluations give beams in ": {
        "alg__policy__args__generation_kwargs": {**SAMPLED, "num_beams": 3}
    },
    r"kl_div\.coeff' = 0.0: is multiplied to follow 'target_kl', and stays 0": {
        "alg__kl_div": {"coeff": 0, "target_kl": 0.1}
    },
    r"kl_div\.coeff' = 0.0: is multiplied to follow 'adaptive_kl', and stays 0": {
        "alg__kl_div": {"coeff": 0, "adaptive_kl": {"target": 6.0}}
    },
    r"n_epochs' = 2: 'reinforce' has no ratio of .*; set it to 1, or take 'alg\.id' = 'rloo'": {
        "algorithm": "reinforce",
        "alg__args__n_epochs": 2,
    },
    r"norm_reward' = true: 'reinforce' credits whole outputs": {
        "algorithm": "reinforce",
        "alg__kl_div": {"coeff": 0.1, "norm_reward": True},
    },
    r"batch_size' = 191: 'reinforce' has no ratio .* raise it to the most tokens .*, 192, or": {
        "algorithm": "reinforce",
        "alg__args__batch_size": 191,
    },
    r"min_length' = 5: is more than 'env\.args\.max_episode_length' = 4": {
        "alg__policy__args__generation_kwargs": {**SAMPLED, "min_length": 5},
        "env__args": {"max_prompt_length": 10, "max_episode_length": 4},
    },
}


def test_wrong_names_and_contradictions_are_refused_at_once(
    workplace: Workplace, model: Path
) -> None:
    runs = [reinforcement(model, **changes) for changes in WRONG.values()]
    outcome = workplace.run_plan(write(workplace, *runs))
    assert outcome.status == 2
    assert [message for message in WRONG if not re.search(message, outcome.err)] == []
    assert workplace.folders() == []


def test_an_entropy_estimate_is_said_to_push_nowhere(workplace: Workplace, model: Path) -> None:
    args = {"alg__args__enforce_token_entropy_reg_estimate": True, "train_evaluation__n_iters": 1}
    for coefficient, said in ((0.01, True), (0.0, False)):
        run = reinforcement(model, alg__args__ent_coef=coefficient, **args)
        outcome = workplace.run_plan(write(workplace, run))
        assert outcome.status == 0
        assert ("the estimate's gradient is zero in expectation" in outcome.err) == said


def test_a_policy_of_the_other_type_than_its_model_is_refused(
    workplace: Workplace, model: Path
) -> None:
    run = reinforcement(model, alg__policy__id="seq2seq_lm_actor_critic_policy")
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    right = "set it to 'causal_lm_actor_critic_policy'"
    assert re.search(f"'alg.policy.id' = 'seq2seq_.*: .* is a causal model; {right}", outcome.err)


@pytest.mark.parametrize("init", ["random", "pretrained"])
@pytest.mark.parametrize(("kind", "asked"), [("gpt2", "seq2seq"), ("bart", "causal")])
def test_a_model_of_the_other_type_is_not_loaded(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, kind: str, asked: ModelType, init: Any
) -> None:
    """As a run finds it of a model that an earlier stage made: half of a BART is a causal model."""
    size = len(tokenizer)
    made: Any = causal_model(size) if kind == "gpt2" else encoder_decoder(kind, size)
    made.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=f"is a .* model where a {asked} one is asked for"):
        load_model(str(tmp_path), asked, ModelOptions(init=init), seed=0)


class FailingArgs(Config):
    """The keys of the reward."""

    how: Literal["raises", "too few", "nan", "too short", "beyond the end"]
    """What it does at its second call, for outputs that hold an ``e``."""


class Failing(Reward[FailingArgs]):
    """One for each output, until it goes wrong."""

    Args = FailingArgs

    def __init__(self, args: FailingArgs) -> None:
        super().__init__(args)
        self._calls = 0

    def __call__(self, texts: Texts) -> Rewards:
        self._calls += 1
        found = [1.0] * len(texts)
        if self._calls > 1 and any("e" in output for output in texts.outputs):
            if self.args.how == "raises":
                raise KeyError("e")
            match self.args.how:
                case "too few":
                    found = found[1:]
                case "nan":
                    found = [math.nan if "e" in output else 1.0 for output in texts.outputs]
                case "too short":
                    return np.ones((len(texts), 2))
                case "beyond the end":
                    return np.ones((len(texts), 9))
        return np.array(found)


def failed(workplace: Workplace, model: Path, how: str) -> RunFolder:
    """The folder of a run whose reward fails in this way."""
    run = reinforcement(model, reward_fn__id="custom:tests.grue.test_reinforcement_errors:Failing",
                        reward_fn__args={"how": how})  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 1
    (folder,) = workplace.folders()
    return folder


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raises", r"raised KeyError: 'e' \(.*test_reinforcement_errors\.py, line \d+\)"),
        ("too few", "returned 7 numbers for 8 outputs; wrong"),
        ("nan", "gave nan"),
    ],
)
def test_what_was_drawn_is_kept_where_the_reward_fails(
    workplace: Workplace, model: Path, how: str, message: str
) -> None:
    folder = failed(workplace, model, how)
    status = folder.read_status()
    assert status["status"] == "failed"
    named = re.search(rf"Failing' {message} for prompt (.*), output (.*e.*?)( \(of 8 outputs|$)",
                      status["reason"])  # fmt: skip
    assert named is not None, status["reason"]
    for kept in (status["traceback"] or "", folder.log.read_text()):
        assert ('raise KeyError("e")' in kept) == (how == "raises")
    rows = read_json_lines(folder.path / "failed_rollout.jsonl")
    assert [row["reward"] for row in rows] == [1.0] * 8 + [None] * 8
    assert named.groups()[:2] in [(repr(row["prompt"]), repr(row["output"])) for row in rows[8:]]
    assert read_json_lines(folder.metrics)[0]["step"] == 0  # the evaluation before


@pytest.mark.parametrize(
    ("how", "message"),
    [("too short", r"gave 2 numbers for prompt .*, which has [3-6] tokens .*: return 8 numbers"),
     ("beyond the end", r"gave 9, not all zero after its end, numbers for .* has [1-6] tokens")],
)  # fmt: skip
def test_rewards_per_token_are_as_many_as_tokens(
    workplace: Workplace, model: Path, how: str, message: str
) -> None:
    folder = failed(workplace, model, how)
    assert re.search(f"Failing' {message}", folder.read_status()["reason"])
    assert len(read_json_lines(folder.path / "failed_rollout.jsonl")) == 16


def test_a_model_that_writes_no_text_is_no_policy(tmp_path: Path) -> None:
    config = GPT2Config(vocab_size=20, n_embd=16, n_layer=1, n_head=1, num_labels=1)
    GPT2ForSequenceClassification(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"is a GPT2ForSequenceClassification.* writes no text"):
        load_model(str(tmp_path), "causal", ModelOptions(), seed=0)
