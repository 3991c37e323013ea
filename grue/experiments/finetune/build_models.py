"""Assembly of the models of reinforcement finetuning, from its keys."""

from __future__ import annotations

from grue.algorithms.config import ReinforcementAlg
from grue.models.loading import load_model, recompute_activations
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.config import MaskablePolicyArgs
from grue.policies.policy import Policy
from grue.policies.vocabulary_mask import Mask


def make_actor_critic(
    policy: Policy, alg: ReinforcementAlg, *, seed: int, with_critic: bool
) -> ActorCritic:
    """Return the policy with critic, reference and, for a maskable policy, its mask.

    Args:
        policy: policy before it is trained; its mask is set.
        alg: keys of the algorithm, with critic and mask.
        seed: seed of the critic's random weights.
        with_critic: if true, the algorithm uses a critic.
    """
    options, critic = alg.policy, None
    if with_critic:
        critic = make_critic(
            policy,
            options.critic,
            seed=seed,
            zero_head=options.critic_head == "zero",
            load=lambda name: load_model(
                name,
                alg.model_type,
                options,
                seed=seed,
                dropout=False,
                revision=options.critic_revision,
            ),
        )
    if options.gradient_checkpointing:
        for model in [policy.model, *([critic.trunk] if critic and critic.trunk else [])]:
            recompute_activations(model)
    if isinstance(options.args, MaskablePolicyArgs):
        policy.mask = Mask(
            policy.model,
            options.args,
            policy.tokenizer.all_special_ids,
            normalized=not alg.reproduces_rl4lms("masks_not_normalized"),
        )
    temperature = options.args.generation_kwargs.temperature
    published = alg.reproduces_rl4lms("reference_without_temperature")
    return ActorCritic(
        policy,
        critic,
        temperature=temperature,
        ref_temperature=1.0 if published else temperature,
    )
