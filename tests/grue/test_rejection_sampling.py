"""Rejection sampling: which outputs are learned, and supervised finetuning's gradient on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from common.config.resolve import resolve
from grue.experiments.finetune.config import FinetuneConfig
from grue.metrics.metric import NoArgs
from grue.rl.selection import at_least, best_of_group
from grue.rollouts.batch import Rollout
from grue.supervised.rows import IGNORED, collate
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.exact import Subject
from tests.grue.parts import Even
from tests.grue.test_critic_free import keys_of, moved, small, updated
from tests.grue.test_reinforcement import reinforcement, rewards_of, rows_of

FREE = {"kl": {"coeff": 0.0}}


def test_which_outputs_of_a_group_are_chosen() -> None:
    rewards = torch.tensor([[0.0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1], [0.3, 0.3, 0.3, 0.3]])
    assert best_of_group(rewards).int().tolist() == [
        [1, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]
    ]  # fmt: skip
    assert at_least(rewards, 1.0).int().tolist() == [
        [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 1], [0, 0, 0, 0]
    ]  # fmt: skip
    a_sum = torch.tensor([[0.1 + 0.2 + 0.7, 0.999]])
    assert at_least(a_sum.float(), 1.0).tolist() == [[True, False]], "but for rounding"


def drawing(select: str, **args: Any) -> Subject:
    """A policy whose outputs are right where they have an even number of letters."""
    subject = small("rejection_sampling", select=select, num_envs=6, **{**FREE, **args})
    subject.rollouts.reward = Even(NoArgs())
    return moved(subject)


def rollout_of(subject: Subject) -> Rollout:
    return subject.rollouts.collect(0, 0.0)[0]


def gradient_of_supervised_finetuning(subject: Subject, rollout: Rollout, rows: Any) -> Tensor:
    """[P] by the library's own loss on rows of prompts and outputs, as a Trainer computes it."""
    model = subject.policy.model
    is_causal = not subject.policy.is_encoder_decoder
    made = []
    for row in rows:
        prompt, output = rollout.prompts[row], rollout.outputs[row]
        if is_causal:
            made.append({"input_ids": [*prompt, *output],
                         "labels": [*[IGNORED] * len(prompt), *output]})  # fmt: skip
        else:
            made.append({"input_ids": list(prompt), "labels": list(output)})
    weights = list(model.parameters())
    loss = model(**collate(made, pad_token=0)).loss
    parts = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten() for part in parts])


@pytest.mark.parametrize("seq2seq", [False, True])
@pytest.mark.parametrize("select", ["best", "right"])
def test_gradient_is_that_of_supervised_finetuning_on_the_chosen(
    select: str, seq2seq: bool
) -> None:
    subject = drawing(select, seq2seq=seq2seq)
    rollout = rollout_of(subject)
    rewards = rollout.task_rewards.sum(1)
    right = [row for row in range(24) if rewards[row] == 1]
    best = [4 * group + int(rewards[4 * group :][:4].argmax()) for group in range(6)]
    chosen = right if select == "right" else best
    assert 0 < len(right) < 24 and right != best
    (gradient,), found = updated(subject)
    expected = gradient_of_supervised_finetuning(subject, rollout, chosen)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)
    assert expected.norm() > 1e-2
    assert found["rejection_sampling/chosen"] == pytest.approx(len(chosen) / 24)
    (parts,), of_parts = updated(drawing(select, seq2seq=seq2seq, micro_batch_size=2))
    torch.testing.assert_close(parts, gradient, rtol=1e-4, atol=1e-6)
    assert of_parts == pytest.approx(found, rel=1e-4)


def test_groups_without_a_right_output_contribute_nothing() -> None:
    steps, found = updated(drawing("right", reward_threshold=2.0))
    assert steps == [] and found["rejection_sampling/chosen"] == 0
    assert "rejection_sampling/loss" not in found and found["update/num_steps"] == 0


def test_steps_share_the_chosen_outputs() -> None:
    steps, found = updated(drawing("best", n_epochs=2, num_minibatches=3))
    assert len(steps) == found["update/num_steps"] == 6
    assert found["rejection_sampling/chosen"] == 6 / 24
    steps, _ = updated(drawing("best", num_minibatches=8))
    assert len(steps) == 6, "no step is without an output"


def test_a_penalty_in_the_reward_chooses_too() -> None:
    chosen = []
    for coefficient in (0.0, 50.0):
        subject = drawing("best", kl={"coeff": coefficient})
        rollout, _ = subject.rollouts.collect(0, coefficient)
        chosen.append(subject.algorithm._is_chosen(rollout))
    assert not torch.equal(*chosen)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg__args__num_samples_per_input": 1}, "of one output there is no best"),
        ({"alg__kl_div": {"coeff": 0.1, "placement": "loss"}}, "give placement = 'reward'"),
        ({"alg__kl_div": {"coeff": 0.1}, "alg__args__select": "right"}, "without penalties"),
        ({"alg__kl_div__norm_reward": True}, "changes no choice"),
        ({"alg__args__advantage": "group"}, "unknown key"),
        ({"alg__args__select": "right", "alg__args__reward_threshold": 2.0,
          "alg__kl_div__coeff": 0.0, "reward_fn__id": "exact_answer"},
         "the largest reward of 'exact_answer' is 1; lower it"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    _, problems = resolve(FinetuneConfig, keys_of("rejection_sampling", **changes))
    (problem,) = map(str, problems)
    assert message in problem


@pytest.mark.parametrize(
    "changes",
    [
        {"alg__args__select": "right", "reward_fn__id": "exact_answer"},
        {"alg__args__reward_threshold": 2.0, "reward_fn__id": "exact_answer"},
        {"alg__args__select": "right", "alg__args__reward_threshold": 2.0,
         "reward_fn__id": "length"},
    ],
)  # fmt: skip
def test_a_threshold_that_a_reward_may_reach_is_accepted(changes: dict[str, Any]) -> None:
    keys = keys_of("rejection_sampling", alg__kl_div__coeff=0.0, **changes)
    assert not resolve(FinetuneConfig, keys)[1]


def test_it_raises_the_reward_and_trains_adapters(
    workplace: Workplace, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = save_model(tmp_path / "model", tokenizer)
    sizes = {"n_iters": 9, "eval_every": 20, "metrics": []}
    keys: dict[str, Any] = {f"train_evaluation__{key}": value for key, value in sizes.items()}
    keys |= {"alg__args__learning_rate": 0.01, "alg__kl_div": {"coeff": 0.0}}
    adapters = {"r": 4, "alpha": 8}
    runs = [
        reinforcement(model, "rejection_sampling", experiment_name="full", **keys),
        reinforcement(model, "rejection_sampling", experiment_name="lora", **keys,
                      alg__policy__lora=adapters),
    ]  # fmt: skip
    outcome = workplace.run_plan(write(workplace, *runs))
    assert outcome.status == 0, outcome.err
    full, lora = workplace.folders()
    rewards = rewards_of(full)
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.3
    for folder in (full, lora):
        rows = rows_of(folder)[1:-1]
        assert all(row["rejection_sampling/grad_norm"] > 0 for row in rows)
        assert {row["rejection_sampling/chosen"] for row in rows} == {1 / 8}
