"""Groups without a right output are drawn again with the beginning of their reference."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from common.config.resolve import resolve
from common.errors import UserError
from grue.experiments.finetune.config import FinetuneConfig
from grue.metrics.metric import NoArgs
from grue.policies.policy import Policy
from grue.rewards.reward import Reward, Rewards
from grue.rollouts.collector import Rollouts
from grue.rollouts.group_rules import GroupRules
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from grue.texts import Texts
from tests.grue.conftest import causal_model
from tests.grue.exact import Subject, small_tokenizer
from tests.grue.test_critic_free import keys_of

REFERENCE = "c b a c"


class Begins(Reward[NoArgs]):
    """Outputs are right that begin with "c b", and have a further word."""

    largest = 1.0

    def __call__(self, texts: Texts) -> Rewards:
        self.seen = list(texts.outputs)
        return np.array([float(output.startswith("c b ")) for output in texts.outputs])


def hinted(share: float = 0.5, *, references: tuple[str, ...] = (REFERENCE,)) -> Subject:
    policy = Policy(causal_model(4), small_tokenizer("a", "b", "c"))
    subject = Subject(
        policy, "dr_grpo", prompts=["b", "a c a", "c"], num_envs=8, num_samples_per_input=4,
        kl={"coeff": 0.1},
    )  # fmt: skip
    settings = dataclasses.replace(subject.rollouts.settings, groups=GroupRules(hint_share=share))
    samples = [Sample(str(row), text, references) for row, text in enumerate(["b", "a c a", "c"])]
    subject.rollouts = Rollouts(
        subject.actor_critic, Inputs(samples, range(3)), Begins(NoArgs()),
        settings, seed=0,
    )  # fmt: skip
    return subject


def test_hopeless_groups_are_drawn_again_with_a_hint_that_the_loss_does_not_have() -> None:
    subject = hinted()
    rollout, found = subject.rollouts.collect(0, 0.1)
    hint = subject.policy.tokenizer("c b", add_special_tokens=False).input_ids
    has_hint = [prompt[-2:] == hint for prompt in rollout.prompts]
    assert len(rollout) == 8 * 4
    assert found["groups/hinted"] == sum(has_hint) / 32 > 0.5
    assert subject.rollouts.draw.num_drawn == 32 + sum(has_hint)
    # Rewards read the hint, and tokens of the loss are those that were drawn.
    rewards = rollout.task_rewards.sum(1)
    ends = [not text for text in subject.policy.decode(rollout.outputs)]
    assert rewards[torch.tensor(has_hint)].tolist() == [
        float(not is_end) for hint, is_end in zip(has_hint, ends, strict=True) if hint
    ]
    assert rollout.num_used.tolist() == [len(output) for output in rollout.outputs]
    assert max(map(len, rollout.outputs)) <= 3
    assert found["groups/mixed_with_hints"] > found["groups/mixed"]
    assert found["pass_at_k/4"] < 0.5, "of outputs without hints"
    # Log-probabilities are those behind the hint.
    expected = subject.policy.log_probs(rollout.prompts, rollout.outputs)
    mask = rollout.response_mask
    torch.testing.assert_close(rollout.log_probs[mask], expected[mask], rtol=0, atol=1e-5)
    subject.algorithm.update(rollout, 0.1, torch.Generator().manual_seed(0))
    assert subject.recorder.steps[0].norm() > 0


class Letters(Reward[NoArgs]):
    """1 for each token that writes a "c", if the output begins with "c b"."""

    needs_tokens = True

    def __call__(self, texts: Texts) -> Rewards:
        assert texts.tokens is not None
        return [  # type: ignore[return-value]  # as users may
            np.array([float(output[start:end].strip() == "c" and output.startswith("c b"))
                      for start, end in of.offsets])
            for output, of in zip(texts.outputs, texts.tokens, strict=True)
        ]  # fmt: skip


def test_rewards_of_tokens_are_those_of_drawn_ones_alone() -> None:
    subject = hinted()
    subject.rollouts.reward = Letters(NoArgs())
    rollout, found = subject.rollouts.collect(0, 0.1)
    hint = subject.policy.tokenizer("c b", add_special_tokens=False).input_ids
    (letter,) = subject.policy.tokenizer("c", add_special_tokens=False).input_ids
    rows = [row for row, prompt in enumerate(rollout.prompts) if prompt[-2:] == hint]
    outputs = [rollout.outputs[row] for row in rows]
    expected = [[float(token == letter) for token in output] for output in outputs]
    given = [rollout.task_rewards[row, : len(rollout.outputs[row])].tolist() for row in rows]
    assert found["groups/hinted"] > 0.5
    assert given == expected and sum(map(sum, given)) > 3


@pytest.mark.parametrize(
    ("share", "progress", "length"), [(1.0, 0.0, 3), (0.5, 0.0, 2), (0.5, 0.5, 1), (0.5, 0.9, 0)]
)
def test_hints_fall_to_none(share: float, progress: float, length: int) -> None:
    subject = hinted(share)
    rollout, found = subject.rollouts.collect(0, 0.1, progress)
    hint = subject.policy.tokenizer(REFERENCE, add_special_tokens=False).input_ids[:length]
    plain, _ = hinted(0.0).rollouts.collect(0, 0.1)
    behind = {
        tuple(prompt[len(bare) :])
        for prompt, bare in zip(rollout.prompts, plain.prompts, strict=True)
    }
    assert behind == {(), tuple(hint)} or behind == {tuple(hint)}
    assert (found["groups/hinted"] > 0) == (length > 0)


def test_hints_leave_positions_for_the_output() -> None:
    subject = hinted(1.0, references=(" ".join(["c b a"] * 20),))
    rollout, _ = subject.rollouts.collect(0, 0.1)
    longest = subject.policy.longest
    assert longest is not None
    assert max(map(len, rollout.prompts)) == longest - 3


def test_inputs_without_references_are_refused() -> None:
    with pytest.raises(UserError, match="3 of 3 training inputs have no reference"):
        hinted(references=())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alg__policy__id": "seq2seq_lm_actor_critic_policy"}, "take a causal model"),
        ({"alg__args__num_samples_per_input": 1, "alg__args__advantage": "none",
          "alg__args__advantage_scale": "none"}, "leaves out every group of one"),
        ({"alg__args__hint_share": 0.0}, "gives hints of no token; raise it"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(changes: dict[str, Any], message: str) -> None:
    _, problems = resolve(FinetuneConfig, keys_of("grpo", alg__args__zero_std_groups="hint",
                                                  **changes))  # fmt: skip
    (problem,) = map(str, problems)
    assert message in problem
