"""PPO of lm-human-preferences: an update against its equations, runs, and keys that do not fit."""

from __future__ import annotations

import copy
import itertools
import re
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from grue.algorithms import find
from grue.algorithms.ppo_human_preferences import HumanPreferencesPpo
from grue.metrics.metric import NoArgs
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.rollouts.batch import Rollout
from grue.rollouts.collector import Rollouts
from grue.rollouts.settings import RolloutSettings
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from grue.texts import Texts
from tests.conftest import Workplace
from tests.grue.conftest import causal_model, encoder_decoder, save_model, write
from tests.grue.exact import ALG
from tests.grue.parts import Letters
from tests.grue.stopping import assert_equal_models, stopped_and_whole
from tests.grue.test_reinforcement import reinforcement, rewards_of, rows_of

LENGTH, TEMPERATURE, BETA, LR = 6, 0.7, 0.15, 1e-3
GENERATION: dict[str, Any] = {
    "do_sample": True, "top_k": 0, "temperature": TEMPERATURE, "max_new_tokens": LENGTH,
    "ignore_eos": True, "truncate_token": "*", "truncate_after": 2,
}  # fmt: skip
ARGS: dict[str, Any] = {"learning_rate": LR, "n_epochs": 2, "nminibatches": 2}
SETTINGS = RolloutSettings(
    GenerationConfig.model_validate(GENERATION), num_envs=32, num_tokens=1, whole_outputs=True,
    gamma=1.0, gae_lambda=0.95, penalty_reward_value=-1.0,
)  # fmt: skip
PROMPTS = ["the cat", "a dog runs in the park and", "numbers 1 2", "mat mat mat"]


def subject(
    tokenizer: PreTrainedTokenizerFast, **args: Any
) -> tuple[HumanPreferencesPpo, Rollouts]:
    policy = Policy(causal_model(len(tokenizer)), copy.deepcopy(tokenizer))
    critic = make_critic(policy, "shared", seed=0, zero_head=True)
    actor_critic = ActorCritic(policy, critic, temperature=TEMPERATURE, ref_temperature=TEMPERATURE)
    alg = ALG.validate_python({
        "id": "ppo_human_preferences", "args": {**ARGS, **args}, "kl_div": {"coeff": BETA},
        "policy": {
            "id": "causal_lm_actor_critic_policy",
            "args": {"model_name": "m", "weight_decay": 0.0, "generation_kwargs": GENERATION,
                     "optimizer": "adam_tensorflow", "optimizer_kwargs": {"eps": 1e-5}},
        },
    })  # fmt: skip
    algorithm: HumanPreferencesPpo = find("ppo_human_preferences")(actor_critic, alg)
    inputs = Inputs([Sample(text, text, ()) for text in PROMPTS], range(len(PROMPTS)))
    return algorithm, Rollouts(actor_critic, inputs, Letters(NoArgs()), SETTINGS, seed=0)


def whiten(x: Tensor, shift_mean: bool) -> Tensor:
    mean, var = x.mean(), x.var(correction=0)
    found = (x - mean) * torch.rsqrt(var + 1e-8)
    return found if shift_mean else found + mean


class Plain:
    """The published update, written down for outputs of equal length, prompt by prompt."""

    def __init__(self, model: GPT2LMHeadModel) -> None:
        self.model = model
        self.weight = torch.zeros(model.config.n_embd, requires_grad=True)
        self.bias = torch.zeros((), requires_grad=True)
        self.parameters = [*model.parameters(), self.weight, self.bias]
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]
        self.t = 0

    def forward(self, prompt: list[int], output: list[int]) -> tuple[Tensor, Tensor]:
        ids = torch.tensor([[*prompt, *output]])
        found = self.model(ids, output_hidden_states=True)
        before = slice(len(prompt) - 1, -1)
        logits = found.logits[0, before] / TEMPERATURE
        log_probs = logits.log_softmax(-1)[torch.arange(LENGTH), ids[0, len(prompt) :]]
        return log_probs, found.hidden_states[-1][0, before] @ self.weight + self.bias

    def update(self, rollout: Rollout, args: dict[str, Any], generator: torch.Generator) -> None:
        sequences = list(zip(rollout.prompts, rollout.outputs, strict=True))
        with torch.no_grad():
            old = [self.forward(*sequence) for sequence in sequences]
        rewards = torch.zeros(len(old), LENGTH)
        for row, (log_probs, _) in enumerate(old):
            rewards[row] = -BETA * (log_probs - rollout.ref_log_probs[row])
            rewards[row, -1] += rollout.task_rewards[row].sum()
        for _ in range(args["n_epochs"]):
            order = torch.randperm(len(old), generator=generator)
            for rows in order.chunk(args["nminibatches"]):
                parts = rows.chunk(args.get("gradient_accumulation_steps", 1))
                for part in parts:
                    loss = self.loss(part, sequences, old, rewards, args["whiten_rewards"])
                    (loss / len(parts)).backward()
                self.step()

    def loss(
        self, rows: Tensor, sequences: Any, old: Any, rewards: Tensor, whiten_rewards: bool
    ) -> Tensor:
        r = rewards[rows]
        if whiten_rewards:
            r = whiten(r, shift_mean=False)
        values = torch.stack([old[row][1] for row in rows.tolist()])
        advantages, last = torch.zeros_like(r), torch.zeros(len(rows))
        for t in reversed(range(LENGTH)):
            after = values[:, t + 1] if t + 1 < LENGTH else 0.0
            last = r[:, t] + after - values[:, t] + 0.95 * last
            advantages[:, t] = last
        returns = advantages + values
        advantages = whiten(advantages, shift_mean=True)
        new = [self.forward(*sequences[row]) for row in rows.tolist()]
        log_probs, predicted = (torch.stack(column) for column in zip(*new, strict=True))
        old_log_probs = torch.stack([old[row][0] for row in rows.tolist()])
        clipped = torch.clamp(predicted, values - 0.2, values + 0.2)
        errors = torch.max((predicted - returns) ** 2, (clipped - returns) ** 2)
        ratio = torch.exp(log_probs - old_log_probs)
        surrogate = torch.max(-advantages * ratio, -advantages * ratio.clamp(0.8, 1.2))
        return surrogate.mean() + 0.1 * 0.5 * errors.mean()

    @torch.no_grad()
    def step(self) -> None:
        self.t += 1
        size = LR * (1 - 0.999**self.t) ** 0.5 / (1 - 0.9**self.t)
        for parameter, m, v in zip(self.parameters, self.m, self.v, strict=True):
            assert parameter.grad is not None
            m.mul_(0.9).add_(0.1 * parameter.grad)
            v.mul_(0.999).add_(0.001 * parameter.grad**2)
            parameter -= size * m / (v.sqrt() + 1e-5)
            parameter.grad = None


@pytest.mark.parametrize(
    "args",
    [{"whiten_rewards": True}, {"whiten_rewards": False},
     {"whiten_rewards": True, "gradient_accumulation_steps": 2}],
)  # fmt: skip
def test_updates_are_those_of_the_equations(
    tokenizer: PreTrainedTokenizerFast, args: dict[str, Any]
) -> None:
    algorithm, rollouts = subject(tokenizer, **args)
    plain = Plain(causal_model(len(tokenizer)))
    for iteration in range(2):
        rollout, _ = rollouts.collect(iteration, BETA)
        algorithm.update(rollout, BETA, torch.Generator().manual_seed(iteration))
        plain.update(rollout, ARGS | args, torch.Generator().manual_seed(iteration))
    ours = dict(algorithm.policy.model.named_parameters())
    begun = dict(causal_model(len(tokenizer)).named_parameters())
    for name, parameter in plain.model.named_parameters():
        torch.testing.assert_close(ours[name], parameter, rtol=0, atol=LR / 50)
    assert sum((ours[name] - begun[name]).abs().max() for name in ours) > LR
    critic = algorithm.actor_critic.critic
    assert critic is not None
    torch.testing.assert_close(critic.head.weight[0], plain.weight, rtol=0, atol=LR / 50)
    torch.testing.assert_close(critic.head.bias[0], plain.bias, rtol=0, atol=LR / 50)


def test_rewards_and_scores_are_those_of_the_sheet(tokenizer: PreTrainedTokenizerFast) -> None:
    """The score of the truncated text at the last place, or the penalty; KL at every place."""
    algorithm, rollouts = subject(tokenizer)
    rollout, _ = rollouts.collect(0, BETA)
    assert rollout.response_mask.all()  # all outputs have the full length
    assert float(rollout.values.abs().max()) == 0  # the critic begins at zero
    algorithm.update(rollout, BETA, torch.Generator())  # so that policy and reference differ
    rollout, found = rollouts.collect(1, BETA)
    assert float(rollout.values.abs().max()) > 0
    (end,) = tokenizer("*", add_special_tokens=False)["input_ids"]
    met = torch.tensor([end in output[2:] for output in rollout.outputs])
    assert 0 < met.sum() < len(met)
    assert (rollout.task_rewards[:, :-1] == 0).all()
    scores = rollout.task_rewards[:, -1]
    assert (scores[~met] == -1).all()
    for row in met.nonzero().squeeze(-1).tolist():
        output = rollout.outputs[row]
        (text,) = algorithm.policy.decode([output[: output.index(end, 2) + 1]])
        assert float(scores[row]) == pytest.approx(letters(text))
    kl = rollout.log_probs - rollout.ref_log_probs
    torch.testing.assert_close(rollout.rewards, rollout.task_rewards - BETA * kl)
    assert found["objective/kl"] == pytest.approx(float(kl.sum(1).mean()))
    assert found["objective/entropy"] == pytest.approx(float(-rollout.log_probs.sum(1).mean()))
    assert found["objective/score"] == pytest.approx(float(scores.mean()))
    assert found["objective/score_total"] == pytest.approx(float(rollout.rewards.sum(1).mean()))
    assert found["objective/kl_coef"] == BETA
    assert found["objective/frac_truncated"] == pytest.approx(float(met.float().mean()))


def test_the_reward_reads_queries_without_what_stands_around_them(
    tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm, rollouts = subject(tokenizer)
    policy, inputs, reward = algorithm.policy, rollouts.inputs, rollouts.reward
    policy.prefix, policy.suffix = "in", "and"
    read: list[str] = []

    def noted(self: Letters, texts: Texts) -> np.ndarray:
        read.extend(texts.prompts)
        return np.zeros(len(texts))

    monkeypatch.setattr(Letters, "__call__", noted)
    rollout, _ = Rollouts(algorithm.actor_critic, inputs, reward, SETTINGS, seed=0).collect(0, 0.1)
    ends = [tokenizer(text)["input_ids"] for text in ("in", "and")]
    for prompt, query in zip(rollout.prompts, read, strict=True):
        assert query in PROMPTS
        assert prompt == [*ends[0], *tokenizer(query)["input_ids"], *ends[1]]


def letters(text: str) -> float:
    return float(Letters(NoArgs())(Texts(["x"], [text], [()], [{}]))[0])


def test_statistics_are_means_over_minibatches(tokenizer: PreTrainedTokenizerFast) -> None:
    algorithm, rollouts = subject(tokenizer, n_epochs=1, nminibatches=1, whiten_rewards=False)
    rollout, _ = rollouts.collect(0, BETA)
    found = algorithm.update(rollout, BETA, torch.Generator())
    # With one minibatch there is no earlier step: the ratio is 1, values are 0, returns the sums.
    returns = rollout.task_rewards[:, -1:] * 0.95 ** torch.arange(LENGTH - 1, -1, -1)
    assert found["ppo/returns/mean"] == pytest.approx(float(returns.mean()), abs=1e-5)
    assert found["ppo/returns/var"] == pytest.approx(float(returns.var(correction=0)), abs=1e-5)
    assert found["ppo/val/error"] == pytest.approx(float(returns.square().mean()), abs=1e-5)
    assert found["ppo/loss/value"] == pytest.approx(found["ppo/val/error"] / 2)
    explained = 1 - found["ppo/val/error"] / found["ppo/returns/var"]
    assert found["ppo/val/var_explained"] == pytest.approx(explained)
    total = found["ppo/loss/policy"] + 0.1 * found["ppo/loss/value"]
    assert found["ppo/loss/total"] == pytest.approx(total, abs=1e-6)
    for name in ("policy/approxkl", "policy/clipfrac", "val/clipfrac", "val/vpred", "val/mean",
                 "val/var"):  # fmt: skip
        assert found[f"ppo/{name}"] == pytest.approx(0, abs=1e-9), name
    assert found["ppo/policy/entropy"] > 0
    assert found["ppo/lr"] == LR


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def configuration(model: Path, **changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "env__n_envs": 16,
        "env__args": {"max_prompt_length": 12, "max_episode_length": LENGTH,
                      "penalty_reward_value": -1.0},
        "alg__args": {"learning_rate": 0.003, "n_epochs": 2, "nminibatches": 2},
        "alg__kl_div": {"coeff": 0.01, "adaptive_kl": {"target": 6.0, "horizon": 100}},
        "alg__policy__critic": "shared",
        "alg__policy__critic_head": "zero",
        "alg__policy__args__weight_decay": 0.0,
        "alg__policy__args__optimizer": "adam_tensorflow",
        "alg__policy__args__optimizer_kwargs": {"eps": 1e-5},
        "alg__policy__args__query_prefix": "the ",
        "alg__policy__args__generation_kwargs": GENERATION,
    }  # fmt: skip
    found = reinforcement(model, "ppo_human_preferences", **base | changes)
    del found["alg.args.learning_rate"]
    return found


def test_a_run_raises_the_reward_and_adapts_the_coefficient(
    workplace: Workplace, model: Path
) -> None:
    assert workplace.run_plan(write(workplace, configuration(model))).status == 0
    (folder,) = workplace.folders()
    rewards, rows = rewards_of(folder), rows_of(folder)[1:-1]
    assert sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.1
    assert [row["ppo/lr"] for row in rows] == pytest.approx(
        [0.003 * (1 - update / 10) for update in range(10)]
    )
    for row, after in itertools.pairwise(rows):
        error = max(-0.2, min(0.2, row["objective/kl"] / 6 - 1))
        moved = row["objective/kl_coef"] * (1 + error * 16 / 100)
        assert after["objective/kl_coef"] == pytest.approx(moved)
    assert rows[0]["rollout_info/ep_lens_std"] == 0
    lines = [line for line in folder.log.read_text().splitlines() if ", score " in line]
    shown = [re.search(r"score (.*), KL of the output (.*), total (.*): ", line) for line in lines]
    assert len(shown) == 9  # three outputs of the iterations 1, 5 and 9
    for numbers in shown[3:6]:
        assert numbers is not None
        score, kl, total = map(float, numbers.groups())
        coefficient = rows[4]["objective/kl_coef"]
        assert total == pytest.approx(score - coefficient * kl, abs=2e-4)
    elapsed = {name: value for name, value in rows[4].items() if name.startswith("elapsed/")}
    assert elapsed == {"elapsed/updates": 5, "elapsed/episodes": 80, "elapsed/steps/serial": 30,
                       "elapsed/steps/total": 480, "elapsed/samples": 80}  # fmt: skip


def test_a_stopped_run_ends_with_equal_results(workplace: Workplace, model: Path) -> None:
    """With the optimiser's count of steps, its step size, the coefficient and the critic."""
    make = partial(configuration, model, train_evaluation__n_iters=6,
                   train_evaluation__eval_every=2)  # fmt: skip
    assert_equal_models(*stopped_and_whole(workplace, make, threads=2))


def _generation(**keys: Any) -> dict[str, Any]:
    return {"alg__policy__args__generation_kwargs": {**GENERATION, **keys}}


def _env(**keys: Any) -> dict[str, Any]:
    return {"env__args": {"max_prompt_length": 12, "max_episode_length": LENGTH, **keys}}


WRONG: dict[str, dict[str, Any]] = {
    r"'env\.n_envs' = 18: must be a multiple of 'alg\.args\.nminibatches' x '.*' = 4 x 1": {
        "env__n_envs": 18, "alg__args": {"nminibatches": 4}
    },
    r"whiten_rewards' = true: rewards are whitened among 4 outputs .* 16 in 4 parts.* least 8": {
        "alg__args": {"nminibatches": 2, "gradient_accumulation_steps": 2}
    },
    r"'alg\.args\.nminibatches' = 0: ": {"alg__args": {"nminibatches": 0}},
    r"target_kl' = 0\.1: contradicts 'adaptive_kl'": {
        "alg__kl_div": {"coeff": 0.1, "target_kl": 0.1, "adaptive_kl": {"target": 6.0}}
    },
    r"'alg\.kl_div\.adaptive_kl\.target': ": {"alg__kl_div": {"coeff": 0.1, "adaptive_kl": {}}},
    r"horizon' = 3: one rollout of 16 outputs could bring .* at least 4": {
        "alg__kl_div": {"coeff": 0.1, "adaptive_kl": {"target": 6.0, "horizon": 3}}
    },
    r"'alg\.kl_div\.norm_reward' = true: .* use 'alg\.args\.whiten_rewards'": {
        "alg__kl_div": {"coeff": 0.1, "norm_reward": True}
    },
    r"terminate_on_eos' = true: contradicts '.*ignore_eos'": _env(terminate_on_eos=True),
    r"penalty_reward_value' = -1\.0: is for outputs without '.*truncate_token'": {
        **_env(penalty_reward_value=-1.0), **_generation(truncate_token=None, truncate_after=0)
    },
    r"truncate_after' = 6: no token of the longest output \(6\) has this index": _generation(
        truncate_after=6
    ),
    r"truncate_after' = 2: no token has this index, for 'env.args.max_episode_length' = 2": _env(
        max_episode_length=2
    ),
    r"truncate_after' = 2: needs 'truncate_token'; give that too": {
        **_env(), **_generation(truncate_token=None)
    },
    r"query_prefix' = 'the ': is for causal models; an encoder reads": {
        "alg__policy__id": "seq2seq_lm_actor_critic_policy"
    },
    r"optimizer' = 'adam': ": {"alg__policy__args__optimizer": "adam"},
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_keys_that_do_not_fit_are_refused_at_once(
    workplace: Workplace, model: Path, message: str
) -> None:
    outcome = workplace.run_plan(write(workplace, configuration(model, **WRONG[message])))
    assert outcome.status == 2
    assert re.search(message, outcome.err), outcome.err
    assert workplace.folders() == []


def test_a_token_that_the_tokenizer_does_not_have_is_told(
    workplace: Workplace, model: Path
) -> None:
    wrong = _generation(truncate_token="zebra zebra")
    outcome = workplace.run_plan(write(workplace, configuration(model, **wrong)))
    assert outcome.status == 2
    assert re.search(r"truncate_token' = 'zebra zebra': is \d+ tokens", outcome.err)


def test_a_prefix_needs_room_of_its_own(workplace: Workplace, model: Path) -> None:
    limits = _env(max_prompt_length=2)
    outcome = workplace.run_plan(write(workplace, configuration(model, **limits)))
    assert outcome.status == 1
    assert "'max_prompt_length' = 2: 'query_prefix' and 'query_suffix' have 2 tokens" in outcome.err


@pytest.mark.parametrize("kind", ["t5", "lora"])
def test_other_models_are_trained_too(
    kind: str, workplace: Workplace, model: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """An encoder-decoder model, whose decoder's states the critic reads, and adapters."""
    changes: dict[str, Any] = {"train_evaluation__n_iters": 2}
    if kind == "t5":
        encoder_decoder("t5", len(tokenizer)).save_pretrained(model)
        policy = "seq2seq_lm_actor_critic_policy"
        changes |= {"alg__policy__id": policy, "alg__policy__args__query_prefix": ""}
    else:
        changes |= {"alg__policy__lora": {"r": 2}}
    assert workplace.run_plan(write(workplace, configuration(model, **changes))).status == 0
    rows = [row for row in rows_of(workplace.folders()[0]) if "objective/kl" in row]
    assert rows[0]["objective/kl"] == pytest.approx(0, abs=1e-5) != rows[1]["objective/kl"]
    assert rows[0]["rollout_info/values"] == 0 != rows[1]["rollout_info/values"]
