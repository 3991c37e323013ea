"""Seconds of one PPO and one NLPO iteration: rollout and update against a bare loop's.

Random GPT-2 (4 layers, width 128, vocabulary 50,257) with a critic and a reference of their own;
16 prompts, outputs of 20 tokens, minibatches of about 64 tokens, 5 epochs: 25 gradient steps. The
bare loop samples with a cache and by inverse CDF, and takes as many steps over whole sequences
with one forward pass of policy and critic each; it measures nothing, rewards nothing and masks
nothing. Each has a process of its own; they take turns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from common.process.freed_memory import keep_freed_memory
from grue.algorithms import find
from grue.algorithms.any_alg import BUILT_IN
from grue.metrics.metric import NoArgs
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.policies.vocabulary_mask import Mask
from grue.rewards.reward import Reward, Rewards
from grue.rollouts.collector import Rollouts
from grue.rollouts.settings import RolloutSettings
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from grue.texts import Texts
from tests.benchmarks.text_models import random_gpt2
from tests.benchmarks.timing import Process, Turns, in_turns, medians_of_processes

_ROUNDS = 9
_SAMPLES_PER_INPUT = 4
"""K of algorithms without a critic."""


@dataclass(frozen=True)
class Sizes:
    """How large an iteration is."""

    outputs: int = 16
    prompt_tokens: int = 5
    tokens: int = 20
    """Of an output."""
    minibatch: int = 64
    """Tokens of a minibatch of PPO's."""
    epochs: int = 5

    @property
    def minibatches(self) -> int:
        """Of one pass over a rollout."""
        return self.outputs * self.tokens // self.minibatch


_SIZES = Sizes()


class _Length(Reward[NoArgs]):
    def __call__(self, texts: Texts) -> Rewards:
        return np.array([float(len(output)) for output in texts.outputs])


_OF_PPO = {"ppo", "nlpo"}
_MASK = {"mask_type": "learned_top_p", "top_mask": 0.9, "target_update_iterations": 1}


class Iteration:
    """This project's: PPO, NLPO, or an algorithm without a critic with one step per rollout."""

    def __init__(
        self,
        policy: Policy,
        name: str = "ppo",
        sizes: Sizes = _SIZES,
        precision: str = "no",
        kl: Mapping[str, Any] | None = None,
    ) -> None:
        keep_freed_memory()  # as each process of a run
        kind = find(name)
        masked, plain = name == "nlpo", name not in _OF_PPO
        args = {"batch_size": sizes.minibatch, "n_epochs": sizes.epochs}
        of_groups = {"num_samples_per_input": _SAMPLES_PER_INPUT}
        samples = _SAMPLES_PER_INPUT if plain else 1
        alg = BUILT_IN[name].model_validate(
            {
                "id": name,
                "args": {"learning_rate": 1e-6, **(of_groups if plain else args)},
                "kl_div": {"coeff": 0.1} if kl is None else dict(kl),
                "policy": {
                    "id": f"{'maskable_' if masked else ''}causal_lm_actor_critic_policy",
                    "mixed_precision": precision,
                    "args": {"model_name": "m", **(_MASK if masked else {})},
                },
            }
        )
        policy.mixed_precision = alg.policy.mixed_precision
        if masked:
            policy.mask = Mask(policy.model, alg.policy.args, policy.tokenizer.all_special_ids)
        critic = make_critic(policy, "copy", seed=0) if alg.rollout_spec.needs_values else None
        self.actor_critic = ActorCritic(policy, critic)
        self.algorithm = kind(self.actor_critic, alg)
        num_inputs = sizes.outputs // samples
        settings = RolloutSettings(
            GenerationConfig(
                do_sample=True, top_k=0, min_length=sizes.tokens, max_new_tokens=sizes.tokens
            ),
            num_envs=num_inputs,
            num_tokens=sizes.outputs * sizes.tokens,
            whole_outputs=alg.rollout_spec.whole_outputs,
            samples_per_input=samples,
            minibatch_tokens=sizes.outputs * sizes.tokens if plain else sizes.minibatch,
            kl_in_reward=alg.kl_div.placement == "reward",
            recompute_log_probs=precision != "no",
        )
        prompt = " ".join(f"w{number}" for number in range(1, sizes.prompt_tokens + 1))
        prompts = [Sample(str(i), prompt, ()) for i in range(num_inputs)]
        inputs = Inputs(prompts, range(num_inputs))
        self.rollouts = Rollouts(self.actor_critic, inputs, _Length(NoArgs()), settings, seed=0)
        self.number = 0

    def __call__(self) -> None:
        """Rollout and update."""
        rollout, _ = self.rollouts.collect(self.number, 0.1)
        with self.actor_critic.updating():
            self.algorithm.update(rollout, 0.1, torch.Generator().manual_seed(self.number))
        self.number += 1


class BareLoop:
    """The same work, written down plainly for one case; subclasses say what an update is."""

    with_critic = True

    def __init__(self, policy: Policy, sizes: Sizes = _SIZES) -> None:
        critic = make_critic(policy, "copy", seed=0) if self.with_critic else None
        made = ActorCritic(policy, critic)
        self.sizes = sizes
        self.policy, self.critic = policy.model, made.critic
        self.reference = made._reference
        self.parameters = made.parameters()
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-6, fused=True)

    @torch.no_grad()
    def _sample(self) -> Tensor:
        """[outputs, prompt and output] ids."""
        sizes, device = self.sizes, self.policy.device
        ids = torch.arange(1, sizes.prompt_tokens + 1, device=device).repeat(sizes.outputs, 1)
        token, cache = ids, None
        for _ in range(sizes.tokens):
            found = self.policy(token, use_cache=True, logits_to_keep=1, **_kept(cache))
            cache = found.get("cache", found.get("past_key_values"))
            cumulative = found.logits[:, -1].softmax(-1).cumsum(-1)
            uniforms = torch.rand(sizes.outputs, 1, device=device) * cumulative[:, -1:]
            token = torch.searchsorted(cumulative, uniforms).clamp(max=cumulative.shape[1] - 1)
            ids = torch.cat([ids, token], 1)
        return ids

    def _log_probs(self, model: Any, ids: Tensor) -> Tensor:
        tokens = self.sizes.tokens
        logits = model(ids[:, :-1], use_cache=False, logits_to_keep=tokens).logits
        chosen = logits.gather(-1, ids[:, -tokens:, None]).squeeze(-1)
        return chosen - logits.logsumexp(-1)

    def _values(self, ids: Tensor) -> Tensor:
        critic: Any = self.critic
        states = critic.trunk.base_model(ids[:, :-1], use_cache=False).last_hidden_state
        values: Tensor = critic.head(states[:, -self.sizes.tokens :]).squeeze(-1)
        return values

    def _step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 0.5)
        self.optimizer.step()


class BarePpo(BareLoop):
    """As many steps as PPO takes, each over whole sequences."""

    def __call__(self) -> None:
        """Rollout and update."""
        ids = self._sample()
        with torch.no_grad():
            old = self._log_probs(self.policy, ids)
            self._log_probs(self.reference, ids)
            returns = self._values(ids)
        for _ in range(self.sizes.epochs):
            for rows in torch.randperm(len(ids)).tensor_split(self.sizes.minibatches):
                ratio = (self._log_probs(self.policy, ids[rows]) - old[rows]).exp()
                loss = -torch.minimum(ratio, ratio.clamp(0.8, 1.2)).mean()
                loss = loss + 0.5 * (self._values(ids[rows]) - returns[rows]).square().mean()
                self._step(loss)


class BareReinforce(BareLoop):
    """One step, without a critic."""

    with_critic = False

    def __call__(self) -> None:
        """Rollout and update."""
        ids = self._sample()
        with torch.no_grad():
            self._log_probs(self.policy, ids)
            self._log_probs(self.reference, ids)
        scores = ids[:, -1].float().view(-1, _SAMPLES_PER_INPUT)
        others = (scores.sum(1, keepdim=True) - scores) / (_SAMPLES_PER_INPUT - 1)
        advantages = (scores - others).view(-1, 1)
        self._step(-(advantages * self._log_probs(self.policy, ids)).sum(1).mean())


def _kept(cache: Any) -> dict[str, Any]:
    """The cache under the name that the library's version gives it."""
    import inspect

    from transformers import GPT2LMHeadModel

    names = inspect.signature(GPT2LMHeadModel.forward).parameters
    return {"cache" if "cache" in names else "past_key_values": cache}


def _bare(turns: Turns) -> None:
    in_turns(BarePpo(random_gpt2()), turns)


def _own(name: str, turns: Turns) -> None:
    in_turns(Iteration(random_gpt2(), name), turns)


def main() -> None:
    """Prints seconds of each, and their ratios to the bare loop's."""
    sizes = _SIZES
    ways: dict[str, Process] = {
        "bare loop": _bare,
        "PPO": partial(_own, "ppo"),
        "NLPO": partial(_own, "nlpo"),
    }
    medians = medians_of_processes(ways, _ROUNDS)
    steps, threads = sizes.epochs * sizes.minibatches, torch.get_num_threads()
    print(f"One iteration of {sizes.outputs} outputs of {sizes.tokens} tokens, {steps} steps, "
          f"{threads} threads")  # fmt: skip
    for name, seconds in medians.items():
        print(
            f"  {name} {seconds:.2f} s: {seconds / medians['bare loop']:.2f} times the bare loop's"
        )


if __name__ == "__main__":
    main()
