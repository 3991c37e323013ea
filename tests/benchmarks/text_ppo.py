"""Seconds of one PPO and one NLPO iteration: rollout and update against a bare loop's.

Random GPT-2 (4 layers, width 128, vocabulary 50,257) with a critic and a reference of their own;
16 prompts, outputs of 20 tokens, minibatches of about 64 tokens, 5 epochs: 25 gradient steps. The
bare loop samples with a cache and by inverse CDF, and takes as many steps over whole sequences
with one forward pass of policy and critic each; it measures nothing, rewards nothing and masks
nothing. All take turns in one process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from grue.algorithm_config import NlpoAlg, PpoAlg, ReinforceAlg
from grue.algorithms.nlpo import Nlpo
from grue.algorithms.ppo import Ppo
from grue.algorithms.reinforce import Reinforce
from grue.generation_config import GenerationConfig
from grue.inputs import Inputs
from grue.metrics.metric import NoArgs
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.masking import Mask
from grue.policies.policy import Policy
from grue.rewards.reward import Reward, Rewards
from grue.rollout_settings import RolloutSettings
from grue.rollouts import Rollouts
from grue.tasks.task import Sample
from grue.texts import Texts
from tests.benchmarks.text_models import random_gpt2
from tests.benchmarks.timing import medians_in_turns

_ROUNDS = 5
_COEFFICIENT = 0.1


@dataclass(frozen=True)
class Sizes:
    """How much an iteration draws, and in what parts it learns from it."""

    prompts: int = 16
    tokens: int = 20
    """Of each output."""
    prompt_tokens: int = 5
    minibatch: int = 64
    """Tokens."""
    epochs: int = 5
    samples: int = 1
    """Outputs of each prompt."""

    @property
    def outputs(self) -> int:
        """Of an iteration."""
        return self.prompts * self.samples

    @property
    def minibatches(self) -> int:
        """Of a pass over all outputs."""
        return max(1, self.outputs * self.tokens // self.minibatch)

    @property
    def steps(self) -> int:
        """Of the optimiser."""
        return self.epochs * self.minibatches


SIZES = Sizes()
MINIBATCH = SIZES.minibatch


class _Length(Reward[NoArgs]):
    def __call__(self, texts: Texts) -> Rewards:
        return np.array([float(len(output)) for output in texts.outputs])


class Iteration:
    """This project's."""

    def __init__(self, policy: Policy, algorithm: str = "ppo", sizes: Sizes = SIZES) -> None:
        """``algorithm`` is ``ppo``, ``nlpo``, or ``reinforce`` with a leave-one-out baseline."""
        learns = {"learning_rate": 1e-6, "num_samples_per_input": sizes.samples}
        in_parts = {"batch_size": sizes.minibatch, "n_epochs": sizes.epochs}
        mask = {"mask_type": "learned_top_p", "top_mask": 0.9, "target_update_iterations": 1}
        masked, whole = algorithm == "nlpo", algorithm == "reinforce"
        kinds: dict[str, tuple[Any, Any]] = {
            "ppo": (PpoAlg, Ppo), "nlpo": (NlpoAlg, Nlpo), "reinforce": (ReinforceAlg, Reinforce)
        }  # fmt: skip
        keys, algorithm_class = kinds[algorithm]
        alg = keys.model_validate(
            {
                "id": algorithm,
                "args": learns | ({} if whole else in_parts),
                "kl_div": {"coeff": _COEFFICIENT},
                "policy": {
                    "id": f"{'maskable_' if masked else ''}causal_lm_actor_critic_policy",
                    "args": {"model_name": "m", **(mask if masked else {})},
                },
            }
        )
        if isinstance(alg, NlpoAlg):
            policy.mask = Mask(policy.model, alg.policy.args, policy.tokenizer.all_special_ids)
        critic = None if whole else make_critic(policy, "copy", seed=0)
        actor_critic = ActorCritic(policy, critic)
        self.actor_critic = actor_critic
        self.algorithm = algorithm_class(actor_critic, alg)
        lengths = {"min_length": sizes.tokens, "max_new_tokens": sizes.tokens}
        settings = RolloutSettings(
            GenerationConfig(do_sample=True, top_k=0, **lengths),
            num_envs=sizes.prompts,
            num_tokens=sizes.outputs * sizes.tokens,
            whole_outputs=whole,
            samples_per_input=sizes.samples,
            minibatch_tokens=sizes.minibatch,
        )
        prompt = " ".join(f"w{i}" for i in range(1, sizes.prompt_tokens + 1))
        prompts = [Sample(str(i), prompt, ()) for i in range(sizes.prompts)]
        inputs = Inputs(prompts, range(sizes.prompts))
        self.rollouts = Rollouts(actor_critic, inputs, _Length(NoArgs()), settings, seed=0)
        self.number = 0

    def __call__(self) -> None:
        """Rollout and update."""
        rollout, _ = self.rollouts.collect(self.number, _COEFFICIENT)
        with self.actor_critic.updating():
            generator = torch.Generator().manual_seed(self.number)
            self.algorithm.update(rollout, _COEFFICIENT, generator)
        self.number += 1


class _Bare:
    """A model that samples with a cache and by inverse CDF, and its own reference."""

    def __init__(self, policy: Policy, sizes: Sizes, critic: Any = None) -> None:
        together = ActorCritic(policy, critic)
        self.policy, self.critic = policy.model, together.critic
        self.reference = together._reference
        self.sizes, self.device = sizes, policy.device
        self.parameters = together.parameters()
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-6, fused=True)

    def step(self, loss: Tensor) -> None:
        """Descends."""
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 0.5)
        self.optimizer.step()

    @torch.no_grad()
    def sample(self) -> Tensor:
        """[N, P + T] prompts and outputs."""
        prompt = torch.arange(1, self.sizes.prompt_tokens + 1, device=self.device)
        ids = prompt.repeat(self.sizes.outputs, 1)
        token, cache = ids, None
        for _ in range(self.sizes.tokens):
            found = self.policy(token, use_cache=True, logits_to_keep=1, **_kept(cache))
            cache = found.get("cache", found.get("past_key_values"))
            cumulative = found.logits[:, -1].softmax(-1).cumsum(-1)
            drawn = torch.rand(len(ids), 1, device=self.device)
            uniforms = drawn * cumulative[:, -1:]
            token = torch.searchsorted(cumulative, uniforms).clamp(max=cumulative.shape[1] - 1)
            ids = torch.cat([ids, token], 1)
        return ids

    def log_probs(self, model: Any, ids: Tensor) -> Tensor:
        """[N, T] of the outputs' tokens."""
        num_tokens = self.sizes.tokens
        logits = model(ids[:, :-1], use_cache=False, logits_to_keep=num_tokens).logits
        chosen = logits.gather(-1, ids[:, -num_tokens:, None]).squeeze(-1)
        return chosen - logits.logsumexp(-1)


class BareLoop(_Bare):
    """PPO's work, written down plainly for this one case."""

    def __init__(self, policy: Policy, sizes: Sizes = SIZES) -> None:
        super().__init__(policy, sizes, make_critic(policy, "copy", seed=0))

    def __call__(self) -> None:
        """Rollout and update."""
        ids = self.sample()
        with torch.no_grad():
            old = self.log_probs(self.policy, ids)
            self.log_probs(self.reference, ids)
            returns = self._values(ids)
        for _ in range(self.sizes.epochs):
            order = torch.randperm(len(ids)).to(self.device)
            for rows in order.tensor_split(self.sizes.minibatches):
                ratio = (self.log_probs(self.policy, ids[rows]) - old[rows]).exp()
                loss = -torch.minimum(ratio, ratio.clamp(0.8, 1.2)).mean()
                loss = loss + 0.5 * (self._values(ids[rows]) - returns[rows]).square().mean()
                self.step(loss)

    def _values(self, ids: Tensor) -> Tensor:
        critic: Any = self.critic
        states = critic.trunk.base_model(ids[:, :-1], use_cache=False).last_hidden_state
        values: Tensor = critic.head(states[:, -self.sizes.tokens :]).squeeze(-1)
        return values


class BareLeaveOneOut(_Bare):
    """REINFORCE's work with a leave-one-out baseline, likewise."""

    def __call__(self) -> None:
        """Rollout and one step."""
        ids = self.sample()
        with torch.no_grad():
            kl = self.log_probs(self.policy, ids) - self.log_probs(self.reference, ids)
        scores = torch.rand(len(ids), device=self.device) - _COEFFICIENT * kl.sum(1)
        of_input = scores.view(-1, self.sizes.samples)
        others = (of_input.sum(1, keepdim=True) - of_input) / (self.sizes.samples - 1)
        advantages = (of_input - others).flatten()
        self.step(-(advantages * self.log_probs(self.policy, ids).sum(1)).mean())


def _kept(cache: Any) -> dict[str, Any]:
    """The cache under the name that the library's version gives it."""
    import inspect

    from transformers import GPT2LMHeadModel

    names = inspect.signature(GPT2LMHeadModel.forward).parameters
    return {"cache" if "cache" in names else "past_key_values": cache}


def main() -> None:
    """Prints seconds of each, and their ratios to the bare loop's."""
    ways: dict[str, Any] = {
        "bare loop": BareLoop(random_gpt2()),
        "PPO": Iteration(random_gpt2()),
        "NLPO": Iteration(random_gpt2(), "nlpo"),
    }
    medians = medians_in_turns(ways, _ROUNDS)
    print(f"One iteration of {SIZES.outputs} outputs of {SIZES.tokens} tokens, "
          f"{SIZES.steps} steps, {torch.get_num_threads()} threads")  # fmt: skip
    for name, seconds in medians.items():
        print(
            f"  {name} {seconds:.2f} s: {seconds / medians['bare loop']:.2f} times the bare loop's"
        )


if __name__ == "__main__":
    main()
