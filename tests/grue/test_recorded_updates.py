"""Updates of the actor-critic algorithms and of REINFORCE stay as they were recorded.

``python -m tests.grue.test_recorded_updates`` records those of new names; known ones are kept.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from grue.algorithms import find
from grue.algorithms.algorithm import Algorithm
from grue.experiments.finetune.rollout_settings import rollout_settings
from grue.metrics.metric import NoArgs
from grue.policies.actor_critic import ActorCritic, make_critic
from grue.policies.policy import Policy
from grue.policies.vocabulary_mask import Mask
from grue.rollouts.collector import Rollouts
from grue.rollouts.config import EnvConfig
from grue.tasks.inputs import Inputs
from grue.tasks.task import Sample
from tests.grue.conftest import causal_model
from tests.grue.exact import ALG, Worth, small_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "updates.json"
PROMPTS = ("b", "a c a", "c")
NUM_ITERATIONS = 3

KL_LOSS = {"coeff": 0.2, "placement": "loss"}
ENTROPY = {"ent_coef": 0.02}
PPO = {"n_steps": 4, "batch_size": 12, "n_epochs": 2, **ENTROPY}
REINFORCE = {"num_samples_per_input": 3, **ENTROPY}
MASK = {"mask_type": "learned_top_k", "top_mask": 3, "target_update_iterations": 2}
# Few conjugate gradients and small steps of Adam: many or large ones blow up rounding.
CASES: dict[str, dict[str, Any]] = {
    "ppo": {"args": PPO},
    "ppo, KL loss": {"args": {**PPO, "clip_range_vf": 0.1}, "kl_div": KL_LOSS},
    "ppo, exact KL": {"args": {**PPO, "analytic_kl_grad": True, "measure_gradient_noise": True},
                      "kl_div": {"analytic_kl_reward": True}},
    "ppo, tokens": {"args": {**PPO, "target_kl": 1e-3}, "compatibility": ["rl4lms"]},
    "nlpo": {"args": PPO, "mask": MASK},
    "a2c": {"args": {"n_steps": 4, **ENTROPY}},
    "a2c, KL loss": {"args": {"n_steps": 12, "normalize_advantage": True,
                              "enforce_token_entropy_reg_estimate": True, **ENTROPY},
                     "kl_div": KL_LOSS},
    "trpo": {"args": {"n_steps": 60, "batch_size": 12, "target_kl": 0.01, "cg_max_steps": 2,
                      "learning_rate": 3e-4}},
    "trpo, KL loss": {"args": {"n_steps": 4, "batch_size": 12, "sub_sampling_factor": 2,
                               "target_kl": 0.01, "cg_max_steps": 2}, "kl_div": KL_LOSS},
    **{f"reinforce, {name}": {"args": {**REINFORCE, "baseline": name}}
       for name in ("none", "running_mean", "cumulative_mean", "leave_one_out",
                    "group_standardized")},
    "reinforce, own": {"args": {**REINFORCE, "baseline": "cumulative_mean",
                                "baseline_includes_own": True, "log_prob_of": "sequence"}},
    "reinforce, KL loss": {"args": REINFORCE, "kl_div": KL_LOSS},
    "ppo_human_preferences": {"args": {"nminibatches": 2, "whiten_rewards": False,
                                       "learning_rate": 3e-4, **ENTROPY}},
    "ppo_human_preferences, whitened": {
        "args": {"nminibatches": 1, "gradient_accumulation_steps": 1}, "env": {"n_envs": 8}},
}  # fmt: skip


def subject(
    case: str, kl_div: dict[str, Any] | None = None, **args: Any
) -> tuple[Algorithm[Any], Rollouts]:
    """The algorithm of a case, with a model of its own, and its rollouts."""
    name, keys = case.split(",")[0], CASES[case]
    policy = Policy(causal_model(4), small_tokenizer("a", "b", "c"))
    mask = keys.get("mask")
    alg: Any = ALG.validate_python({
        "id": name,
        "args": {"learning_rate": 3e-3, **keys.get("args", {}), **args},
        "kl_div": kl_div or {"coeff": 0.1, **keys.get("kl_div", {})},
        "compatibility": keys.get("compatibility", []),
        "policy": {
            "id": f"{'maskable_' if mask else ''}causal_lm_actor_critic_policy",
            "args": {"model_name": "m", "optimizer_kwargs": {"eps": 1e-3}, **(mask or {}),
                     "generation_kwargs": {"do_sample": True, "top_k": 0, "max_new_tokens": 4}},
        },
    })  # fmt: skip
    if mask:
        policy.mask = Mask(policy.model, alg.policy.args, policy.tokenizer.all_special_ids)
    critic = make_critic(policy, "copy", seed=3) if alg.rollout_spec.needs_values else None
    actor_critic = ActorCritic(policy, critic)
    algorithm: Algorithm[Any] = find(name)(actor_critic, alg)
    limits = {"max_prompt_length": 4, "max_episode_length": 4}
    env = EnvConfig.model_validate({"n_envs": 6, "args": limits, **keys.get("env", {})})
    samples = [Sample(str(row), prompt, ()) for row, prompt in enumerate(PROMPTS)]
    inputs = Inputs(samples, range(len(samples)))
    settings = rollout_settings(env, alg)
    return algorithm, Rollouts(actor_critic, inputs, Worth(NoArgs()), settings, seed=0)


def moved(algorithm: Algorithm[Any]) -> None:
    """Takes the policy away from its reference."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in algorithm.policy.model.parameters():
            weight.add_(0.05 * torch.randn_like(weight))


def measured(case: str, num_iterations: int = NUM_ITERATIONS, **args: Any) -> dict[str, Any]:
    """Metrics of some updates, and sums over the weights after them."""
    algorithm, rollouts = subject(case, **args)
    moved(algorithm)
    generator, coefficient = torch.Generator().manual_seed(0), algorithm.alg.kl_div.coeff
    rows = []
    for iteration in range(num_iterations):
        rollout, _ = rollouts.collect(iteration, coefficient)
        rows.append(algorithm.update(rollout, coefficient, generator))
    return {"metrics": rows, "weights": weights_of(algorithm)}


def weights_of(algorithm: Algorithm[Any]) -> dict[str, float]:
    """Sums over the weights of the policy and of the critic, each with a factor of its own."""
    sums = {"policy": 0.0, "critic": 0.0}
    for name, weight in algorithm.actor_critic.state_dict().items():
        factors = torch.linspace(-1, 1, weight.numel())
        sums[name.split(".")[0]] += float(weight.flatten() @ factors)
    return sums


@pytest.mark.parametrize("case", CASES)
def test_updates_are_those_recorded(case: str) -> None:
    expected = json.loads(GOLDEN.read_text())[case]
    found = measured(case, recompute_log_probs=True)
    for row, known in zip(found["metrics"], expected["metrics"], strict=True):
        of_known = {name: row[name] for name in known}  # further ones may be measured
        assert of_known == pytest.approx(known, rel=1e-5, abs=1e-5, nan_ok=True)
    assert found["weights"] == pytest.approx(expected["weights"], rel=1e-5, abs=1e-5)


# Conjugate gradients magnify the rounding of a long rollout.
IN_PARTS = [(3, case) for case in CASES if case != "trpo"]
IN_PARTS += [(1, case) for case in ("nlpo", "ppo, tokens", "a2c", "trpo, KL loss",
                                    "reinforce, none", "ppo_human_preferences")]  # fmt: skip


@pytest.mark.parametrize(("size", "case"), IN_PARTS)
def test_micro_batches_change_nothing(size: int, case: str) -> None:
    whole, found = (measured(case, 1, **args) for args in ({}, {"micro_batch_size": size}))
    (row,), (known,) = found["metrics"], whole["metrics"]
    assert row == pytest.approx(known, rel=1e-4, abs=1e-5, nan_ok=True)
    assert found["weights"] == pytest.approx(whole["weights"], rel=1e-5, abs=1e-5)


ANY_KL = [(case, placement, estimator)
          for case in ("nlpo", "a2c", "reinforce, leave_one_out", "ppo_human_preferences")
          for placement, estimator in (("loss", "k3"), ("reward", "k2"), ("reward", "full"))
]  # fmt: skip
ANY_KL_OF_TRPO = [pytest.param("trpo", *way, marks=pytest.mark.slow)
                  for way in (("loss", "k3"), ("reward", "k2"), ("reward", "full"))]  # fmt: skip


@pytest.mark.parametrize(("case", "placement", "estimator"), [*ANY_KL, *ANY_KL_OF_TRPO])
def test_each_algorithm_has_each_kl_in_loss_or_reward(
    case: str, placement: str, estimator: str
) -> None:
    """With a penalty of another size the update is another one."""
    known = CASES[case].get("kl_div", {})
    kl = {"placement": placement, "estimator": estimator}
    found = [measured(case, 1, kl_div={**known, **kl, "coeff": coeff}) for coeff in (0.0, 0.5)]
    assert found[0]["weights"] != pytest.approx(found[1]["weights"], rel=1e-5, abs=1e-5)
    if placement == "loss" and "trpo" not in case:
        (loss,) = (value for name, value in found[1]["metrics"][0].items()
                   if name.endswith(("kl_loss", "loss/kl")))  # fmt: skip
        assert loss == pytest.approx(found[1]["metrics"][0]["kl/k3"], rel=1e-5) and loss > 0


def record() -> None:
    """Adds the cases that the file does not have."""
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    found = {
        case: known[case] if case in known else measured(case, recompute_log_probs=True)
        for case in CASES
    }
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    record()
