"""Log-probabilities that are kept while outputs are drawn, against those of a pass over them."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch

from grue.experiments.finetune.rollout_settings import rollout_settings
from grue.metrics.metric import NoArgs
from grue.models.config import LoraConfig
from grue.models.loading import with_adapters
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.config import MaskablePolicyArgs
from grue.policies.policy import Policy
from grue.policies.vocabulary_mask import Mask
from grue.rollouts.batch import Rollout
from grue.rollouts.collector import Rollouts
from grue.rollouts.config import EnvConfig
from grue.rollouts.settings import RolloutSettings
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from tests.grue.parts import Letters
from tests.grue.test_recorded_updates import CASES, subject
from tests.grue.test_rollouts import PROMPTS, TEMPERATURE
from tests.grue.test_rollouts import SETTINGS as OF_MANY

SETTINGS = replace(OF_MANY, num_envs=8)  # each output has a pass of its own
NAMES = ("log_probs", "ref_log_probs", "kl", "values", "advantages", "kl_advantages")


def rollout_of(
    policy: Policy, settings: RolloutSettings, *, critic: str = "copy", mask: Any = None
) -> Rollout:
    """A rollout of a policy that has moved away from its reference."""
    own = Policy(copy.deepcopy(policy.model), policy.tokenizer)
    if mask is not None:
        own.mask = Mask(own.model, mask, own.tokenizer.all_special_ids)
    made = make_critic(own, critic, seed=0)
    both = ActorCritic(own, made, temperature=TEMPERATURE, ref_temperature=TEMPERATURE)
    with torch.no_grad():
        for weight in own.model.parameters():
            weight.mul_(1.05)
    inputs = Inputs([Sample(text, text, ()) for text in PROMPTS], range(len(PROMPTS)))
    return Rollouts(both, inputs, Letters(NoArgs()), settings, seed=0).collect(2, 0.1)[0]


def both_ways(policy: Policy, settings: RolloutSettings, **keys: Any) -> list[Rollout]:
    """The rollout with log-probabilities that were kept, and with those of a pass."""
    return [
        rollout_of(policy, replace(settings, recompute_log_probs=again), **keys)
        for again in (False, True)
    ]


def assert_equal(kept: Rollout, computed: Rollout) -> None:
    assert kept.outputs == computed.outputs
    mask = kept.response_mask
    for name in NAMES:
        found, expected = (getattr(of, name)[mask] for of in (kept, computed))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5, msg=name)
    assert not torch.equal(kept.log_probs, computed.log_probs)  # they were made in two ways


@pytest.mark.parametrize(
    "changes",
    [{}, {"min_length": 5}, {"top_k": 10}, {"top_p": 0.8}, {"no_repeat_ngram_size": 2}],
    ids=lambda changes: next(iter(changes), "plain"),
)
def test_kept_log_probabilities_are_those_of_a_pass(
    policy: Policy, changes: dict[str, Any]
) -> None:
    """Before filters, with prompts and outputs of several lengths."""
    plain = SETTINGS.generation.model_dump(exclude_unset=True)
    generation = type(SETTINGS.generation).model_validate({**plain, **changes})
    num_envs = SETTINGS.num_envs if changes else 2 * SETTINGS.num_envs
    settings = replace(SETTINGS, generation=generation, num_envs=num_envs)
    kept, computed = both_ways(policy, settings)
    assert_equal(kept, computed)
    if not changes:
        assert len(kept.response_mask.sum(1).unique()) > 1  # some end early


@pytest.mark.parametrize("kind", ["learned_top_p", "topk"])
def test_kept_log_probabilities_are_within_the_vocabulary_mask(policy: Policy, kind: str) -> None:
    args = MaskablePolicyArgs.model_validate(
        {"model_name": "m", "mask_type": kind, "top_mask": 0.8 if kind == "learned_top_p" else 20}
    )
    kept, computed = both_ways(policy, SETTINGS, mask=args)
    assert_equal(kept, computed)  # and the KL is that of the policy without the mask
    assert (kept.log_probs > kept.ref_log_probs).any()


def test_critic_on_the_policys_states_has_its_pass(policy: Policy) -> None:
    assert_equal(*both_ways(policy, SETTINGS, critic="shared"))


def test_reference_without_adapters_is_evaluated(causal_policy: Policy) -> None:
    model = copy.deepcopy(causal_policy.model)
    adapted = with_adapters(model, LoraConfig(r=2), "CAUSAL_LM", dropout=False, key="lora")
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.add_(0.03)
    policy = Policy(adapted, causal_policy.tokenizer)
    kept, computed = both_ways(policy, SETTINGS)
    assert_equal(kept, computed)
    assert kept.kl[kept.response_mask].abs().max() > 1e-2


@pytest.mark.parametrize(
    ("args", "policy_keys", "again"),
    [({}, {}, False), ({}, {"mixed_precision": "bf16"}, True), ({}, {"dtype": "bfloat16"}, True),
     ({"recompute_log_probs": True}, {}, True),
     ({"recompute_log_probs": False}, {"mixed_precision": "bf16"}, False)],
)  # fmt: skip
def test_half_width_makes_the_pass_unless_told(
    args: dict[str, Any], policy_keys: dict[str, Any], again: bool
) -> None:
    algorithm, _ = subject(next(case for case in CASES if case.startswith("ppo")), **args)
    alg = algorithm.alg.model_copy(
        update={"policy": algorithm.alg.policy.model_copy(update=policy_keys)}
    )
    env = EnvConfig.model_validate({"args": {"max_prompt_length": 4, "max_episode_length": 4}})
    assert rollout_settings(env, alg).recompute_log_probs is again
