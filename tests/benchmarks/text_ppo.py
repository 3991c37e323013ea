"""Seconds of one PPO and one NLPO iteration: rollout and update against a bare loop's.

Random GPT-2 (4 layers, width 128, vocabulary 50,257) with a critic and a reference of their own;
16 prompts, outputs of 20 tokens, minibatches of about 64 tokens, 5 epochs: 25 gradient steps. The
bare loop samples with a cache and by inverse CDF, and takes as many steps over whole sequences
with one forward pass of policy and critic each; it measures nothing, rewards nothing and masks
nothing. All take turns in one process.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from grue.algorithm_config import NlpoAlg, PpoAlg
from grue.algorithms.nlpo import Nlpo
from grue.algorithms.ppo import Ppo
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
_PROMPTS, _TOKENS, _PROMPT_TOKENS = 16, 20, 5
MINIBATCH, _EPOCHS = 64, 5


class _Length(Reward[NoArgs]):
    def __call__(self, texts: Texts) -> Rewards:
        return np.array([float(len(output)) for output in texts.outputs])


class Iteration:
    """This project's."""

    def __init__(self, policy: Policy, *, masked: bool = False) -> None:
        mask = {"mask_type": "learned_top_p", "top_mask": 0.9, "target_update_iterations": 1}
        alg = (NlpoAlg if masked else PpoAlg).model_validate(
            {
                "id": "nlpo" if masked else "ppo",
                "args": {"batch_size": MINIBATCH, "n_epochs": _EPOCHS, "learning_rate": 1e-6},
                "kl_div": {"coeff": 0.1},
                "policy": {
                    "id": f"{'maskable_' if masked else ''}causal_lm_actor_critic_policy",
                    "args": {"model_name": "m", **(mask if masked else {})},
                },
            }
        )
        if isinstance(alg, NlpoAlg):
            policy.mask = Mask(policy.model, alg.policy.args, policy.tokenizer.all_special_ids)
        actor_critic = ActorCritic(policy, make_critic(policy, "copy", seed=0))
        self.actor_critic = actor_critic
        self.algorithm = (Nlpo if masked else Ppo)(actor_critic, alg)
        settings = RolloutSettings(
            GenerationConfig(do_sample=True, top_k=0, min_length=_TOKENS, max_new_tokens=_TOKENS),
            num_envs=_PROMPTS,
            num_tokens=_PROMPTS * _TOKENS,
            minibatch_tokens=MINIBATCH,
        )
        prompts = [Sample(str(i), "w1 w2 w3 w4 w5", ()) for i in range(_PROMPTS)]
        inputs = Inputs(prompts, range(_PROMPTS))
        self.rollouts = Rollouts(actor_critic, inputs, _Length(NoArgs()), settings, seed=0)
        self.number = 0

    def __call__(self) -> None:
        """Rollout and update."""
        rollout, _ = self.rollouts.collect(self.number, 0.1)
        with self.actor_critic.updating():
            self.algorithm.update(rollout, 0.1, torch.Generator().manual_seed(self.number))
        self.number += 1


class BareLoop:
    """The same work, written down plainly for this one case."""

    def __init__(self, policy: Policy) -> None:
        iteration = ActorCritic(policy, make_critic(policy, "copy", seed=0))
        self.policy, self.critic = policy.model, iteration.critic
        self.reference = iteration._reference
        parameters = iteration.parameters()
        self.optimizer = torch.optim.AdamW(parameters, lr=1e-6, fused=True)
        self.parameters = parameters

    def __call__(self) -> None:
        """Rollout and update."""
        ids = self._sample()
        with torch.no_grad():
            old = self._log_probs(self.policy, ids)
            self._log_probs(self.reference, ids)
            returns = self._values(ids)
        for _ in range(_EPOCHS):
            for rows in torch.randperm(_PROMPTS).tensor_split(_PROMPTS * _TOKENS // MINIBATCH):
                ratio = (self._log_probs(self.policy, ids[rows]) - old[rows]).exp()
                loss = -torch.minimum(ratio, ratio.clamp(0.8, 1.2)).mean()
                loss = loss + 0.5 * (self._values(ids[rows]) - returns[rows]).square().mean()
                self.optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.parameters, 0.5)
                self.optimizer.step()

    @torch.no_grad()
    def _sample(self) -> Tensor:
        ids = torch.arange(1, _PROMPT_TOKENS + 1).repeat(_PROMPTS, 1)
        token, cache = ids, None
        for _ in range(_TOKENS):
            found = self.policy(token, use_cache=True, logits_to_keep=1, **_kept(cache))
            cache = found.get("cache", found.get("past_key_values"))
            cumulative = found.logits[:, -1].softmax(-1).cumsum(-1)
            uniforms = torch.rand(_PROMPTS, 1) * cumulative[:, -1:]
            token = torch.searchsorted(cumulative, uniforms).clamp(max=cumulative.shape[1] - 1)
            ids = torch.cat([ids, token], 1)
        return ids

    def _log_probs(self, model: Any, ids: Tensor) -> Tensor:
        logits = model(ids[:, :-1], use_cache=False, logits_to_keep=_TOKENS).logits
        chosen = logits.gather(-1, ids[:, -_TOKENS:, None]).squeeze(-1)
        return chosen - logits.logsumexp(-1)

    def _values(self, ids: Tensor) -> Tensor:
        critic: Any = self.critic
        states = critic.trunk.base_model(ids[:, :-1], use_cache=False).last_hidden_state
        values: Tensor = critic.head(states[:, -_TOKENS:]).squeeze(-1)
        return values


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
        "NLPO": Iteration(random_gpt2(), masked=True),
    }
    medians = medians_in_turns(ways, _ROUNDS)
    print(f"One iteration of {_PROMPTS} outputs of {_TOKENS} tokens, "
          f"{_EPOCHS * _PROMPTS * _TOKENS // MINIBATCH} steps, "
          f"{torch.get_num_threads()} threads")  # fmt: skip
    for name, seconds in medians.items():
        print(
            f"  {name} {seconds:.2f} s: {seconds / medians['bare loop']:.2f} times the bare loop's"
        )


if __name__ == "__main__":
    main()
