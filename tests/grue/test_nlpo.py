"""NLPO: outputs from within the mask, one distribution in rollout and update, a mask that moves."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from grue.algorithms.any_alg import BUILT_IN
from grue.algorithms.nlpo import Nlpo
from grue.metrics.metric import NoArgs
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.decoding import loop as decoding
from grue.policies.decoding.sampling import candidates, draw
from grue.policies.generation_config import GenerationConfig
from grue.policies.mask_ops import top_k_mask, top_p_mask, unpacked
from grue.policies.policy import Policy
from grue.policies.vocabulary_mask import Mask
from grue.rollouts.collector import Rollouts
from grue.rollouts.config import EnvConfig
from grue.rollouts.settings import RolloutSettings
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from tests.grue.parts import Letters

TEMPERATURE = 0.8
TOP_P = {"mask_type": "learned_top_p", "top_mask": 0.6, "min_tokens_to_keep": 2}
MASKS = [TOP_P, {"mask_type": "learned_top_k", "top_mask": 5}, {"mask_type": "topk", "top_mask": 5}]
SETTINGS = RolloutSettings(
    GenerationConfig(do_sample=True, top_k=0, temperature=TEMPERATURE, min_length=6,
                     max_new_tokens=6),
    num_envs=16, num_tokens=64,
)  # fmt: skip


def nlpo(policy: Policy, mask: dict[str, Any], *compatibility: str, **args: Any) -> Nlpo:
    """With a policy of its own that has left its mask model."""
    kind = "seq2seq" if policy.is_encoder_decoder else "causal"
    keys = {
        "id": "nlpo",
        "args": {"batch_size": 32, "n_epochs": 1, "learning_rate": 0.01, **args},
        "kl_div": {"coeff": 0.1},
        "compatibility": compatibility,
        "policy": {
            "id": f"maskable_{kind}_lm_actor_critic_policy",
            "args": {"model_name": "m", "target_update_iterations": 2, **mask},
        },
    }
    alg = BUILT_IN["nlpo"].model_validate(keys)
    own = Policy(copy.deepcopy(policy.model), policy.tokenizer)
    own.mask = Mask(own.model, alg.policy.args, own.tokenizer.all_special_ids,
                    normalized="masks_not_normalized" not in compatibility)  # fmt: skip
    actor_critic = ActorCritic(own, make_critic(own, "copy", seed=0), temperature=TEMPERATURE)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in own.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return Nlpo(actor_critic, alg)


def rollouts(algorithm: Nlpo, settings: RolloutSettings = SETTINGS) -> Rollouts:
    inputs = Inputs([Sample("0", "the cat", ()), Sample("1", "a dog runs in", ())], [0, 1])
    return Rollouts(algorithm.actor_critic, inputs, Letters(NoArgs()), settings, seed=0)


@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: mask["mask_type"])
def test_what_was_drawn_and_what_is_updated_have_one_distribution(
    policy: Policy, mask: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm, drawn = nlpo(policy, mask), []

    def recorded(logits: Tensor, uniforms: Tensor, filters: Any) -> Tensor:
        token = draw(logits, uniforms, filters)
        scaled = (logits / TEMPERATURE).log_softmax(-1)
        drawn.append(scaled.gather(-1, token[:, None]))
        return token

    monkeypatch.setattr(decoding, "draw", recorded)
    rollout, _ = rollouts(algorithm).collect(0, 0.1)
    of_generation = torch.cat(drawn, -1)
    assert of_generation.shape == (16, 6)  # no output ends early
    torch.testing.assert_close(rollout.log_probs, of_generation, rtol=0, atol=1e-4)
    (batch,) = rollout.sequential_batches(16)
    log_probs = algorithm.evaluate(batch).log_probs
    torch.testing.assert_close(
        log_probs.detach(), of_generation[rollout.train_mask], rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(("top_k", "top_p"), [(3, 1.0), (0, 0.3), (4, 0.3)])
def test_filters_of_the_draw_are_part_of_what_could_come(
    policy: Policy, top_k: int, top_p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithm, drawn = nlpo(policy, MASKS[1]), []

    def recorded(logits: Tensor, uniforms: Tensor, filters: Any) -> Tensor:
        token = draw(logits, uniforms, filters)
        kept = candidates(logits, filters)
        assert kept.tokens is not None
        chosen = (kept.probabilities * (kept.tokens == token[:, None])).sum(-1, keepdim=True)
        drawn.append((chosen / kept.probabilities.sum(-1, keepdim=True)).log())
        return token

    monkeypatch.setattr(decoding, "draw", recorded)
    keys = {"top_k": top_k, "top_p": top_p}
    settings = replace(SETTINGS, generation=SETTINGS.generation.model_copy(update=keys))
    rollout, _ = rollouts(algorithm, settings).collect(0, 0.1)
    torch.testing.assert_close(rollout.log_probs, torch.cat(drawn, -1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("mask", MASKS, ids=lambda mask: mask["mask_type"])
def test_tokens_that_could_come_are_those_of_the_mask_model(
    policy: Policy, mask: dict[str, Any]
) -> None:
    algorithm = nlpo(policy, mask)
    rollout, _ = rollouts(algorithm).collect(0, 0.1)
    own = algorithm.policy
    sequences = own.sequences(rollout.prompts, rollout.outputs)
    scores = sequences.logits(own.model if mask["mask_type"] == "topk" else algorithm.mask.model)
    fewest = own.lengths(SETTINGS.generation).fewest
    scores[:, :fewest, own.ids.end] = -torch.inf
    flat = scores.flatten(0, 1)
    kept = (top_p_mask(flat, 0.6, 2) if mask is TOP_P else top_k_mask(flat, 5)).view_as(scores)
    kept[..., own.tokenizer.all_special_ids] = True
    kept[:, :fewest, own.ids.end] = False
    assert rollout.vocab_mask_bits is not None
    found = unpacked(rollout.vocab_mask_bits, scores.shape[-1])
    differ = (found != kept).any(-1)
    assert differ.float().mean() < 0.05  # sums at the limit, within rounding
    assert kept.sum(-1).float().mean() < 0.3 * kept.shape[-1]
    assert found.gather(-1, sequences.outputs.ids[..., None]).all()


def test_the_kl_is_that_of_the_policy_without_its_mask(causal_policy: Policy) -> None:
    algorithm = nlpo(causal_policy, TOP_P)
    rollout, _ = rollouts(algorithm).collect(0, 0.1)
    unmasked = algorithm.policy.log_probs(rollout.prompts, rollout.outputs, TEMPERATURE)
    torch.testing.assert_close(rollout.kl, unmasked.detach() - rollout.ref_log_probs)
    assert (rollout.log_probs > unmasked + 0.01).float().mean() > 0.9


def test_published_log_probabilities_are_those_without_a_mask(causal_policy: Policy) -> None:
    algorithm = nlpo(causal_policy, TOP_P, "masks_not_normalized")
    rollout, _ = rollouts(algorithm).collect(0, 0.1)
    unmasked = algorithm.policy.log_probs(rollout.prompts, rollout.outputs, TEMPERATURE)
    torch.testing.assert_close(rollout.log_probs, unmasked.detach())


@pytest.mark.parametrize("frozen", [False, True])
def test_the_mask_is_refreshed_unless_it_is_frozen(causal_policy: Policy, frozen: bool) -> None:
    algorithm = nlpo(causal_policy, TOP_P, *(["frozen_mask"] if frozen else []))
    drawing, models = rollouts(algorithm), [causal_policy.model]
    for iteration in range(4):
        rollout, _ = drawing.collect(iteration, 0.1)
        if iteration % 2 == 1 and not frozen:  # before the second update, the fourth, ...
            models.append(copy.deepcopy(algorithm.policy.model))
        algorithm.update(rollout, 0.1, torch.Generator().manual_seed(iteration))
        found, expected = algorithm.mask.model.state_dict(), models[-1].state_dict()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert len(models) == (1 if frozen else 3)


def test_evaluations_stay_within_the_mask_too(policy: Policy) -> None:
    own = nlpo(policy, {"mask_type": "learned_top_k", "top_mask": 1}).policy
    assert own.mask is not None
    prompts = own.encode(["the cat", "a dog runs"], 20)
    best = GenerationConfig(max_new_tokens=5, min_length=5 + policy.is_encoder_decoder)
    sampled = best.model_copy(update={"do_sample": True, "top_k": 0, "temperature": 5.0})
    unmasked = Policy(own.mask.model, own.tokenizer)  # its best token leaves no choice
    expected = unmasked.outputs(prompts, best, inputs=[0, 1], seed=0)
    assert own.outputs(prompts, sampled, inputs=[0, 1], seed=0) == expected
    assert unmasked.outputs(prompts, sampled, inputs=[0, 1], seed=0) != expected
    beams = best.model_copy(update={"num_beams": 3})
    assert own.outputs(prompts, beams, inputs=[0, 1], seed=0) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"args": {"top_mask": None}}, "'policy.args.top_mask': a maskable policy needs it"),
        ({"args": {"top_mask": 5.0}}, "'policy.args.top_mask' = 5.0: is a probability"),
        ({"args": {"top_mask": 0.9, "mask_type": "topk"}}, "= 0.9: is a number of tokens for topk"),
        ({"id": "causal_lm_actor_critic_policy"}, "'nlpo' needs a policy with a mask; add 'mask"),
    ],
)
def test_what_cannot_be_a_mask_is_refused(changes: dict[str, Any], message: str) -> None:
    given = {"id": "maskable_causal_lm_actor_critic_policy", **changes}
    args = given.get("args", {}) | {"model_name": "m", "generation_kwargs": {"max_new_tokens": 5}}
    if "mask_type" not in args and "args" in changes:
        args["mask_type"] = "learned_top_p"
    alg = BUILT_IN["nlpo"].model_validate({"id": "nlpo", "kl_div": {"coeff": 0.1},
                                  "policy": given | {"args": args}})  # fmt: skip
    (problem,) = alg.problems()
    assert message in str(problem)


@pytest.mark.parametrize(
    ("name", "mask_type", "why"),
    [
        ("min_tokens_to_keep", "topk", "without 'alg.policy.args.mask_type' = 'learned_top_p'"),
        ("min_tokens_to_keep", "learned_top_k", "'learned_top_p'; drop it"),
        ("min_tokens_to_keep", "learned_top_p", None),
        ("target_update_iterations", "topk", "with 'alg.policy.args.mask_type' = 'topk'"),
        ("target_update_iterations", "learned_top_k", None),
    ],
)
def test_keys_that_a_mask_does_not_read_are_told(
    name: str, mask_type: str, why: str | None
) -> None:
    args = {"model_name": "m", "top_mask": 1, "mask_type": mask_type, name: 7,
            "generation_kwargs": {"max_new_tokens": 5}}  # fmt: skip
    alg = BUILT_IN["nlpo"].model_validate(
        {"id": "nlpo", "kl_div": {"coeff": 0.1},
         "policy": {"id": "maskable_causal_lm_actor_critic_policy", "args": args}}
    )  # fmt: skip
    env = EnvConfig.model_validate(
        {"n_envs": 16, "args": {"max_prompt_length": 5, "max_episode_length": 5}}
    )
    told = [each for each in alg.args.notices_of_rollouts(alg, env) if "has no effect" in each]
    assert len(told) == (why is not None)
    if why is not None:
        assert told[0].startswith(f"'alg.policy.args.{name}' = 7: has no effect")
        assert why in told[0]


def test_a_mask_is_for_nlpo_alone() -> None:
    policy = {"id": "maskable_causal_lm_actor_critic_policy",
              "args": {"model_name": "m", "top_mask": 5,
                       "generation_kwargs": {"max_new_tokens": 5}}}  # fmt: skip
    alg = BUILT_IN["ppo"].model_validate({"id": "ppo", "kl_div": {"coeff": 0.1}, "policy": policy})
    assert "'ppo' has no use for a mask; only 'nlpo'" in str(*alg.problems())
