"""The plans of reward models as teachers, with the published settings."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from common.experiment import EXPERIMENTS
from common.plan.load import Plan, load_plan
from grue.experiments.finetune.config import ReinforcementConfig
from grue.experiments.reward_model.config import RewardModelConfig
from grue.experiments.teacher.config import TeacherConfig
from tests.conftest import PROJECT

PLANS = PROJECT / "experiment_plans"


def plan(name: str) -> Plan:
    return load_plan(PLANS / f"{name}.json", EXPERIMENTS)


def of_kind(found: Plan, kind: type[Any]) -> list[Any]:
    return [run for run in found.runs if isinstance(run.config, kind)]


@pytest.mark.parametrize(
    ("name", "num_rewards"),
    [("quickstart/teachers", 10), ("teachers/pythia_mixes", 7),
     ("teachers/public_reward_models", 5)],
)  # fmt: skip
def test_each_measured_reward_trains_policies_of_three_seeds(name: str, num_rewards: int) -> None:
    found = plan(name)
    (teacher,) = of_kind(found, TeacherConfig)
    measured = {each.name: (each.id, each.args) for each in teacher.config.rewards}
    assert len(measured) == num_rewards
    trained: dict[str, list[int]] = {}
    for run in of_kind(found, ReinforcementConfig):
        args = run.config.reward_fn.args
        inner = args["reward"]
        assert (inner["id"], inner["args"]) == measured[args["name"]]
        assert run.config.train_evaluation.measure_reward
        assert any(reference.run is teacher for reference in run.references)
        trained.setdefault(args["name"], []).append(run.config.random_seed)
    assert trained == {reward: [0, 1, 2] for reward in measured}


@pytest.mark.parametrize(
    ("name", "inputs", "iterations"),
    [("teachers/pythia_mixes", 16, 1553), ("teachers/public_reward_models", 32, 259)],
)
def test_policies_have_the_published_settings(name: str, inputs: int, iterations: int) -> None:
    for run in of_kind(plan(name), ReinforcementConfig):
        alg, settings = run.config.alg, run.config.training_settings
        assert (alg.id, alg.args.learning_rate, alg.args.num_samples_per_input) == ("rloo", 1e-7, 2)
        assert (alg.args.num_minibatches, alg.args.policy_loss) == (2, "clipped")
        assert (alg.args.ratio, alg.args.clip_range) == ("sequence_product", 0.2)
        assert (alg.kl_div.coeff, alg.kl_div.placement) == (0.05, "reward")
        assert (settings.temperature, settings.top_k, settings.max_new_tokens) == (1.0, 0, 512)
        assert run.config.env.n_envs == inputs
        assert run.config.train_evaluation.n_iters == iterations
        assert run.num_ranks == 2


def test_prompts_of_mixed_preferences_are_taken_without_a_warning() -> None:
    assert not [notice for run in plan("teachers/pythia_mixes").runs
                for notice in run.config.notices()]  # fmt: skip


def test_errors_of_public_reward_models_are_studied_with_the_published_settings() -> None:
    """Each of four policies is measured once, and trained by each reward model (2604.25872)."""
    found = plan("teachers/harm_aware")
    teachers = of_kind(found, TeacherConfig)
    assert [run.config.alg.model_name for run in teachers] == [
        "allenai/OLMo-2-0425-1B-SFT", "meta-llama/Llama-3.2-1B-Instruct",
        "meta-llama/Llama-3.2-3B-Instruct", "Qwen/Qwen3-1.7B-Base",
    ]  # fmt: skip
    trained = Counter[tuple[str, str]]()
    for run in of_kind(found, ReinforcementConfig):
        alg, args = run.config.alg, run.config.reward_fn.args
        (teacher,) = {reference.run for reference in run.references}
        policies = {alg.policy.args.model_name, run.config.tokenizer.model_name}
        assert policies == {teacher.config.alg.model_name, teacher.config.tokenizer.model_name}
        measured = {each.name: (each.id, each.args) for each in teacher.config.rewards}
        assert (args["reward"]["id"], args["reward"]["args"]) == measured[args["name"]]
        assert run.config.train_evaluation.metrics[0].args == teacher.config.ground_truth.args
        assert (alg.id, alg.args.learning_rate, alg.args.num_samples_per_input) == ("rloo", 1e-7, 4)
        assert (alg.args.num_minibatches, alg.args.n_epochs) == (1, 1)
        assert (alg.args.advantage_scale, alg.args.ratio) == ("rollout_std", "sequence_product")
        assert (alg.kl_div.coeff, alg.kl_div.placement) == (0.01, "reward")
        settings, evaluation = run.config.training_settings, run.config.train_evaluation
        assert (settings.temperature, settings.top_k, settings.max_new_tokens) == (1.0, 0, 512)
        assert run.config.env.n_envs * alg.args.num_samples_per_input == 32
        assert (evaluation.n_iters, evaluation.eval_every) == (2452, 613)
        assert (run.num_ranks, run.config.datapool.num_train_samples) == (2, 10_000)
        trained[alg.policy.args.model_name, args["name"]] += 1
    assert len(trained) == 4 * 7 and set(trained.values()) == {3}
    revisions = {each.args.get("revision") for each in teachers[0].config.rewards}
    assert revisions == {None, "2"}


def test_reward_models_have_the_published_settings() -> None:
    runs = of_kind(plan("teachers/pythia_mixes"), RewardModelConfig)
    shares = [run.config.datapool.args["share"] for run in runs]
    assert shares == [1.0, 0.75, 0.5, 0.25, 0.0]
    for run in runs:
        given, loss = run.config.alg.training_args, run.config.alg.loss
        size = given["per_device_train_batch_size"] * given["gradient_accumulation_steps"]
        assert size * run.num_ranks == 32 and given["learning_rate"] == 5e-7
        assert (loss.id, loss.margin, loss.centring) == ("pairwise", "none", 0.01)
        assert run.config.datapool.args["seed"] == 182


def test_tabular_plans_hold_their_studies() -> None:
    assert len(plan("teachers/tabular").runs) == 3
    errors = {run.config.reward_models.errors for run in plan("teachers/tabular_errors").runs}
    assert len(errors) == 6 and ("beneficial", "benign") in errors
