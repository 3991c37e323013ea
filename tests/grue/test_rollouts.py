"""Rollouts: log-probabilities of the draw, whatever the padding, and advantages of cut outputs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from grue.metrics.metric import NoArgs
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.decoding import loop as decoding
from grue.policies.decoding.sampling import draw
from grue.policies.distribution import TokenDistribution
from grue.policies.generation_config import GenerationConfig
from grue.policies.padding import pad, positions
from grue.policies.policy import Policy
from grue.policies.prompt_encoder import Tokens
from grue.rollouts.batch import Rollout
from grue.rollouts.collector import Rollouts
from grue.rollouts.settings import RolloutSettings
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from tests.grue.parts import Letters

TEMPERATURE = 1.5
SETTINGS = RolloutSettings(
    GenerationConfig(do_sample=True, top_k=0, temperature=TEMPERATURE, max_new_tokens=8),
    num_envs=32, num_tokens=1, whole_outputs=True, minibatch_tokens=5, samples_per_input=2,
)  # fmt: skip
PROMPTS = ["the cat", "a dog runs in the park and", "numbers 1 2", "mat mat mat"]


def rollouts(policy: Policy, settings: RolloutSettings) -> Rollouts:
    own = Policy(copy.deepcopy(policy.model), policy.tokenizer)
    actor_critic = ActorCritic(own, make_critic(own, "copy", seed=0), temperature=TEMPERATURE,
                               ref_temperature=TEMPERATURE)  # fmt: skip
    inputs = Inputs([Sample(text, text, ()) for text in PROMPTS], range(len(PROMPTS)))
    return Rollouts(actor_critic, inputs, Letters(NoArgs()), settings, seed=0)


def test_log_probabilities_are_those_of_the_draw(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of one cached step after another, from a batch of prompts that outputs leave early."""
    drawn = []

    def recorded(logits: Tensor, uniforms: Tensor, filters: Any) -> Tensor:
        token = draw(logits, uniforms, filters)
        drawn.append(TokenDistribution(logits / TEMPERATURE).log_prob(token))
        return token

    monkeypatch.setattr(decoding, "draw", recorded)
    rollout, _ = rollouts(policy, SETTINGS).collect(2, 0.1)
    lengths = rollout.response_mask.sum(1)
    assert len(lengths.unique()) > 2  # some end early
    found = rollout.log_probs.T[rollout.response_mask.T]  # token by token, as they were drawn
    torch.testing.assert_close(found, torch.cat(drawn), rtol=0, atol=1e-4)
    assert rollout.kl.abs().max() < 1e-6  # the reference is the policy still


@pytest.mark.parametrize("form", ["alone", "left", "right"])
def test_padding_does_not_change_log_probabilities(policy: Policy, form: str) -> None:
    """Against the library's model, fed one sequence at a time or padded on either side."""
    if form == "left" and policy.model.config.model_type == "bart":
        pytest.skip("its encoder has absolute positions and takes none")
    prompts = policy.encode(PROMPTS, 20)
    outputs = [[5, 9, 7], [8], [6, 6, 6, 6], [11, 12]]
    ours = policy.log_probs(prompts, outputs)
    expected = torch.zeros_like(ours)
    batches = [[row] for row in range(4)] if form == "alone" else [list(range(4))]
    for rows in batches:
        logits = _logits(policy, [prompts[r] for r in rows], [outputs[r] for r in rows], form)
        for row, of_row in zip(rows, logits, strict=True):
            tokens = torch.tensor(outputs[row])
            expected[row, : len(tokens)] = TokenDistribution(of_row).log_prob(tokens)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


@torch.no_grad()
def _logits(
    policy: Policy, prompts: list[Tokens], outputs: list[Tokens], form: str
) -> list[Tensor]:
    """Per row [T, V] before each output token, by the library's model alone."""
    left = {"fill": 7, "left": form == "left", "device": "cpu"}
    if policy.is_encoder_decoder:
        start = policy.ids.start
        assert start is not None
        encoder = pad(prompts, **left)
        decoder = pad([[start, *output] for output in outputs], fill=7, left=False, device="cpu")
        logits = policy.model(
            input_ids=encoder.ids, attention_mask=encoder.mask, decoder_input_ids=decoder.ids
        ).logits
        return [logits[row, : len(output)] for row, output in enumerate(outputs)]
    whole = pad([p + o for p, o in zip(prompts, outputs, strict=True)], **left)
    logits = policy.model(
        input_ids=whole.ids, attention_mask=whole.mask, position_ids=positions(whole.mask)
    ).logits
    return [
        logits[row][whole.mask[row].bool()][len(prompt) - 1 : -1]
        for row, prompt in enumerate(prompts)
    ]


def test_advantages_are_those_of_the_published_flat_buffer(causal_policy: Policy) -> None:
    """Outputs one behind the other, the last one cut where the buffer is full.

    delta_t = r_t + gamma V_{t+1} (1 - b_{t+1}) - V_t, A_t = delta_t + gamma lambda (1 - b_{t+1})
    A_{t+1}, with b the flags of outputs' first tokens; beyond the buffer stands the value of the
    next state, or nothing where the output had ended.
    """
    whole, _ = rollouts(causal_policy, SETTINGS).collect(0, 0.1)
    ends = whole.response_mask.sum(1).cumsum(0)
    for size in (int(ends[9]) + 1, int(ends[9]), int(ends[8]) + 1, 1):
        settings = RolloutSettings(
            SETTINGS.generation, num_envs=32, samples_per_input=2, num_tokens=size
        )
        rollout, statistics = rollouts(causal_policy, settings).collect(0, 0.1)
        assert statistics["rollout_info/num_used_tokens"] == size == rollout.num_tokens
        assert statistics["rollout_info/num_tokens"] == int(ends[-1])
        expected = _flat_buffer(rollout, size, settings.gamma, settings.gae_lambda)
        torch.testing.assert_close(rollout.advantages[rollout.train_mask], expected)
        returns = expected + rollout.values[rollout.train_mask]
        torch.testing.assert_close(rollout.returns[rollout.train_mask], returns)


def _flat_buffer(rollout: Rollout, size: int, gamma: float, gae_lambda: float) -> Tensor:
    """[size] advantages, by the published recursion."""
    starts = torch.zeros_like(rollout.response_mask)
    starts[:, 0] = True
    rewards, values, begins = (
        found[rollout.response_mask].tolist() for found in (rollout.rewards, rollout.values, starts)
    )
    begins.append(True)
    values.append(0.0)
    advantages, following = [0.0] * size, 0.0
    for t in reversed(range(size)):
        goes_on = 1.0 - begins[t + 1]
        delta = rewards[t] + gamma * values[t + 1] * goes_on - values[t]
        following = delta + gamma * gae_lambda * goes_on * following
        advantages[t] = following
    return torch.tensor(advantages)
