"""Policies of so few outputs that expectations over them are sums, to compare updates with.

Three ways to know an expected gradient: as the derivative of a sum over all outputs, from a rollout
that has every output exactly as often as its probability says, and as a mean over many rollouts.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from grue.algorithms import find
from grue.algorithms.algorithm import Algorithm
from grue.algorithms.any_alg import AnyReinforcementAlg
from grue.experiments.finetune.rollout_settings import rollout_settings
from grue.experiments.new_model.tokenizer import words
from grue.metrics.metric import NoArgs
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.distribution import TokenDistribution
from grue.policies.policy import Policy
from grue.policies.prompt_encoder import Tokens
from grue.rewards.reward import Reward, Rewards
from grue.rl.kl import KL_ESTIMATORS, kl_full
from grue.rollouts.collector import Rollouts
from grue.rollouts.config import EnvConfig
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from grue.texts import Texts

LENGTH = 3
"""Most tokens of an output."""
ALG: TypeAdapter[Any] = TypeAdapter(AnyReinforcementAlg)
"""Reads the keys `alg` of whichever algorithm they name."""
PARTS = 4
"""Probabilities of `chain` are multiples of 1 / PARTS."""


def worth(text: str) -> float:
    """A number between 1 and 2 for each text, without any order."""
    return 1 + zlib.crc32(text.encode()) / 2**32


class Worth(Reward[NoArgs]):
    """What texts are worth."""

    def __call__(self, texts: Texts) -> Rewards:
        return np.array([worth(text) for text in texts.outputs])


def small_tokenizer(*names: str) -> PreTrainedTokenizerFast:
    """End-of-sequence and these words."""
    return words(iter([" ".join(names)]), len(names) + 1, 16)


def chain(probabilities: Sequence[Sequence[float]]) -> GPT2LMHeadModel:
    """A GPT-2 whose next token depends on the last alone: [V, V] rows sum to 1.

    Tokens are embedded as unit vectors, attention and feed-forward layers add nothing (their
    gradients are not zero for that), the last layer norm brings unit vectors back, and the head
    holds log-probabilities.
    """
    size = len(probabilities)
    config = GPT2Config(
        vocab_size=size, n_positions=16, n_embd=size, n_layer=1, n_head=1, bos_token_id=0,
        eos_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wte.weight.copy_(torch.eye(size))
        model.transformer.wpe.weight.zero_()
        for name, parameter in model.named_parameters():
            if "c_proj" in name:
                parameter.zero_()
        variance = (1 - 1 / size) / size  # of a unit vector's entries
        model.transformer.ln_f.weight.fill_(math.sqrt(variance + config.layer_norm_epsilon))
        model.transformer.ln_f.bias.fill_(1 / size)
    set_chain(model, probabilities)
    return model


def set_chain(model: GPT2LMHeadModel, probabilities: Sequence[Sequence[float]]) -> None:
    """Gives a `chain` other probabilities."""
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.tensor(probabilities).log().T)


def grid(num_samples: int) -> Tensor:
    """[B, K, T] uniforms under which K outputs of a `chain` come as often as their probability."""
    steps = (torch.arange(PARTS, dtype=torch.float64) + 0.5) / PARTS
    one = torch.cartesian_prod(*[steps] * LENGTH)
    rows = torch.cartesian_prod(*[torch.arange(len(one))] * num_samples).view(-1, num_samples)
    return one[rows]


def outputs(policy: Policy) -> list[Tokens]:
    """All outputs that there are."""
    end, others = policy.ids.end, range(1, policy.model.config.vocab_size)
    assert end == 0
    ended = [
        [*tokens, end]
        for length in range(LENGTH)
        for tokens in itertools.product(others, repeat=length)
    ]
    return ended + [list(tokens) for tokens in itertools.product(others, repeat=LENGTH)]


class Subject:
    """An algorithm with its rollouts, whose steps are recorded and move nothing."""

    def __init__(
        self, policy: Policy, algorithm: str, *, prompts: Sequence[str], num_envs: int,
        temperature: float = 1.0, kl: dict[str, Any] | None = None, **args: Any,
    ) -> None:  # fmt: skip
        kind = "seq2seq" if policy.is_encoder_decoder else "causal"
        sampling = {"do_sample": True, "top_k": 0, "max_new_tokens": LENGTH}
        sampling["temperature"] = temperature
        plain = {"max_grad_norm": 1e9}
        if algorithm in ("a2c", "ppo"):
            plain |= {"gamma": 1.0, "gae_lambda": 1.0, "vf_coef": 0.0, "normalize_advantage": False}
        if algorithm == "ppo":
            plain |= {"n_epochs": 1, "batch_size": 1_000_000}
        alg: Any = ALG.validate_python({
            "id": algorithm, "args": {**plain, **args}, "kl_div": {"coeff": 0.3, **(kl or {})},
            "policy": {
                "id": f"{kind}_lm_actor_critic_policy",
                "args": {"model_name": "m", "generation_kwargs": sampling},
            },
        })  # fmt: skip
        limits = {"max_prompt_length": 4, "max_episode_length": LENGTH}
        env = EnvConfig.model_validate({"n_envs": num_envs, "args": limits})
        samples = [Sample(str(row), prompt, ()) for row, prompt in enumerate(prompts)]
        algorithm_class = find(algorithm)
        critic = make_critic(policy, "copy", seed=3) if alg.rollout_spec.needs_values else None
        self.policy = policy
        self.prompts = policy.encode(prompts, 4)
        self.coefficient = alg.kl_div.coeff
        self.actor_critic = ActorCritic(
            policy, critic, temperature=temperature, ref_temperature=temperature
        )
        self.algorithm: Algorithm[Any] = algorithm_class(self.actor_critic, alg)
        self.recorder = _Recorder(self.policy.model.parameters(), lr=0.0)
        self.algorithm.optimizer = self.recorder
        settings = rollout_settings(env, alg)
        # Outputs that are cut would make estimates depend on the critic.
        settings = dataclasses.replace(settings, whole_outputs=True, num_tokens=1)
        inputs = Inputs(samples, range(len(samples)))
        self.rollouts = Rollouts(self.actor_critic, inputs, Worth(NoArgs()), settings, seed=0)

    def step(self, iteration: int = 0) -> Tensor:
        """[P] the gradient that one rollout and update ascend, as a mean over outputs."""
        rollout, _ = self.rollouts.collect(iteration, self.coefficient)
        self.algorithm.update(rollout, self.coefficient, torch.Generator().manual_seed(0))
        (descent,) = self.recorder.steps
        self.recorder.steps.clear()
        per_output = (
            1.0
            if self.algorithm.alg.rollout_spec.whole_outputs
            else rollout.num_tokens / len(rollout)
        )
        return -per_output * descent

    def expected(self) -> Tensor:
        """[P] gradient of sum_y pi(y) (r(y) - beta log pi(y) / ref(y)), a mean over inputs."""
        return self._gradient("k1")

    def expected_of_constants(self, estimator: str) -> Tensor:
        """[P] the same with another estimate of the log ratio, which has no gradient of its own."""
        return self._gradient(estimator, are_constants=True)

    def _gradient(self, estimator: str, are_constants: bool = False) -> Tensor:
        weights = list(self.policy.model.parameters())
        values = [self._value(prompt, estimator, are_constants) for prompt in self.prompts]
        value = torch.stack(values).mean()
        parts = torch.autograd.grad(value, weights, allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    def _value(self, prompt: Tokens, estimator: str, are_constants: bool) -> Tensor:
        """[] what a policy is worth for a prompt."""
        every = outputs(self.policy)
        sequences = self.policy.sequences([prompt] * len(every), every)
        ids, mask = sequences.outputs.ids, sequences.outputs.mask
        logits = self.actor_critic.evaluate(sequences).logits
        of_tokens = TokenDistribution(logits).log_prob(ids)
        ref_logits = self.actor_critic.reference_logits(sequences)
        if estimator == "full":
            kl = kl_full(logits, ref_logits)
        else:
            kl = KL_ESTIMATORS[estimator](of_tokens, TokenDistribution(ref_logits).log_prob(ids))
        log_probs, kl = ((each * mask).sum(1) for each in (of_tokens, kl))
        kl = kl.detach() if are_constants else kl
        rewards = torch.tensor([worth(text) for text in self.policy.decode(every)])
        torch.testing.assert_close(log_probs.exp().sum(), torch.tensor(1.0))  # there are no others
        return (log_probs.exp() * (rewards - self.coefficient * kl)).sum()


class _Recorder(torch.optim.SGD):
    """Notes gradients instead of following them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.steps: list[Tensor] = []

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        weights = self.param_groups[0]["params"]
        grads = [torch.zeros_like(w) if w.grad is None else w.grad for w in weights]
        self.steps.append(torch.cat([grad.flatten() for grad in grads]).clone())
