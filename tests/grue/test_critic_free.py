"""GRPO and its relatives: rows of keys, exact gradients, micro-batches and silent groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from common.config.resolve import resolve
from common.errors import Problem
from grue.experiments.finetune.config import FinetuneConfig
from grue.metrics.metric import NoArgs
from grue.policies.policy import Policy
from grue.rewards.reward import Reward, Rewards
from grue.texts import Texts
from tests.conftest import Workplace
from tests.grue.conftest import causal_model, encoder_decoder, nested, save_model, write
from tests.grue.exact import LENGTH, Subject, chain, grid, set_chain, small_tokenizer
from tests.grue.parts import EVEN, Same
from tests.grue.test_exact_gradients import MOVED, REFERENCE
from tests.grue.test_reinforcement import reinforcement, rewards_of, rows_of

IDS = [
    "grpo",
    "dr_grpo",
    "dapo",
    "rloo",
    "reinforce_plus_plus",
    "reinforce_plus_plus_baseline",
    "gspo",
]
SMALL_DAPO = {"env.n_envs": 16, "alg.args.overlong_buffer": 2}
IN_REWARD = {"placement": "reward", "estimator": "k1"}


def keys_of(algorithm: str, **changes: Any) -> dict[str, Any]:
    """Keys of a run whose penalty has its defaults, and other keys for dotted ones with ``__``."""
    flat = reinforcement(Path("model"), algorithm)
    if algorithm in IDS:
        del flat["alg.kl_div"]
    if algorithm == "dapo":
        flat |= SMALL_DAPO
    keys = nested(flat | {key.replace("__", "."): value for key, value in changes.items()})
    del keys["experiment"]
    return keys


def test_defaults_are_the_published_settings() -> None:
    """The sheet of policy gradients, row by row."""
    rows = {}
    for name in IDS:
        config, problems = resolve(FinetuneConfig, keys_of(name))
        assert not problems and config is not None
        args, kl = config.alg.args, config.alg.kl_div
        in_loss = (kl.estimator, kl.placement, kl.coeff) if kl.coeff else None
        rows[name] = (args.advantage, args.advantage_scale, args.policy_loss, args.ratio,
                      args.clip_ranges, args.aggregate, in_loss)  # fmt: skip
    assert rows == {
        "grpo": ("group", "group_std", "clipped", "token", (0.2, 0.2), "sequence_mean",
                 ("k3", "loss", 0.04)),
        "dr_grpo": ("group", "none", "clipped", "token", (0.2, 0.2), "sequence_sum_norm", None),
        "dapo": ("group", "group_std", "clipped", "token", (0.2, 0.28), "token_mean", None),
        "rloo": ("leave_one_out", "none", "reinforce", "sequence_product", (0.2, 0.2),
                 "sequence_sum", ("k1", "reward", 0.05)),
        "reinforce_plus_plus": ("none", "unit", "clipped", "token", (0.2, 0.2), "token_mean",
                                ("k1", "reward", 0.01)),
        "reinforce_plus_plus_baseline": ("group", "unit", "clipped", "token", (0.2, 0.2),
                                         "token_mean", ("k2", "loss", 0.01)),
        "gspo": ("group", "group_std", "clipped", "sequence", (3e-4, 4e-4), "sequence_mean", None),
    }  # fmt: skip


def test_part_of_the_penalty_may_be_given() -> None:
    config, problems = resolve(FinetuneConfig, keys_of("grpo", alg__kl_div__coeff=0.5))
    assert not problems and config is not None
    kl = config.alg.kl_div
    assert (kl.coeff, kl.placement, kl.estimator) == (0.5, "loss", "k3")


# Expected gradients.


def drawn_exactly(algorithm: str, monkeypatch: pytest.MonkeyPatch, **args: Any) -> Subject:
    """A moved policy whose rollouts have every output as often as its probability says."""
    from grue.rollouts import collector

    policy = Policy(chain(REFERENCE), small_tokenizer("a", "b"))
    draws = grid(args["num_samples_per_input"])
    subject = Subject(policy, algorithm, prompts=["a"], num_envs=len(draws), **args)
    set_chain(policy.model, MOVED)
    monkeypatch.setattr(collector, "uniforms", lambda *_args, **_options: draws)
    return subject


@pytest.mark.parametrize(
    ("algorithm", "factor"),
    [
        ("rloo", 1.0),
        ("dr_grpo", 0.5 / LENGTH),  # the own reward in the mean, and the constant length
    ],
)
def test_a_rollout_of_all_outputs_gives_the_exact_gradient(
    algorithm: str, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = drawn_exactly(algorithm, monkeypatch, num_samples_per_input=2, kl=IN_REWARD)
    torch.testing.assert_close(
        subject.step(), factor * subject.expected(), rtol=1e-3, atol=1e-4 * factor
    )


def small(algorithm: str, *, seq2seq: bool = False, **args: Any) -> Subject:
    model = encoder_decoder("t5", 4) if seq2seq else causal_model(4)
    policy = Policy(model, small_tokenizer("a", "b", "c"))
    args = {"kl": {"coeff": 0.1}, "num_envs": 4, "num_samples_per_input": 4, **args}
    if algorithm == "dapo":
        args = {"overlong_buffer": 2, **args}
    return Subject(policy, algorithm, prompts=["b", "a c a", "c"], **args)


def moved(subject: Subject) -> Subject:
    """The policy has left its reference."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in subject.policy.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return subject


def updated(subject: Subject) -> tuple[list[Tensor], dict[str, float]]:
    """Gradients of the steps of one update, and what it measured."""
    rollout, drawn = subject.rollouts.collect(0, subject.coefficient)
    found = subject.algorithm.update(rollout, subject.coefficient, torch.Generator().manual_seed(0))
    steps = list(subject.recorder.steps)
    subject.recorder.steps.clear()
    return steps, drawn | found


def test_rloo_is_reinforce_with_leave_one_out() -> None:
    kl = {"kl": {"coeff": 0.1}}
    (one,), _ = updated(moved(small("reinforce", num_samples_per_input=4, **kl)))
    (other,), _ = updated(moved(small("rloo", **kl)))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert other.norm() > 1e-3


@pytest.mark.parametrize("seq2seq", [False, True])
@pytest.mark.parametrize("algorithm", IDS)
def test_micro_batches_change_nothing(algorithm: str, seq2seq: bool) -> None:
    args = {"ent_coef": 0.01, "num_minibatches": 1, "seq2seq": seq2seq}
    (whole,), found = updated(moved(small(algorithm, **args)))
    assert whole.norm() > 1e-4 and 0 < found["update_share/kl_and_entropy"] < 1
    for size in (1, 3):
        (parts,), of_parts = updated(moved(small(algorithm, **args, micro_batch_size=size)))
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-6)
        assert of_parts == pytest.approx(found, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3", "full"])
def test_each_estimator_of_the_kl_is_the_loss_it_names(estimator: str) -> None:
    """With a coefficient of 1 its gradient is what the step has beside that without it."""
    kl = {"placement": "loss", "estimator": estimator, "coeff": 1.0}
    (with_kl,), found = updated(moved(small("dr_grpo", kl=kl)))
    (without,), _ = updated(moved(small("dr_grpo", kl={**kl, "coeff": 0.0})))
    assert (with_kl - without).norm() > 1e-5
    scale = {"k1": found["kl/k1"], "k2": found["kl/k3"], "k3": found["kl/k3"]}
    if estimator in scale:  # of sums over tokens by the longest length, near a mean over tokens
        assert found["policy/kl_loss"] == pytest.approx(scale[estimator], rel=0.7, abs=1e-3)


def test_several_steps_have_ratios_and_their_clip_shares() -> None:
    subject = moved(small("grpo", n_epochs=2, num_minibatches=2, clip_range=0.01))
    steps, found = updated(subject)
    assert len(steps) == 4
    assert found["ratio/mean"] == pytest.approx(1, abs=1e-5)
    rollout, _ = subject.rollouts.collect(0, 0.1)
    with torch.no_grad():
        subject.policy.model.lm_head.weight.add_(0.5 * torch.randn(4, 1))
    found = subject.algorithm.update(rollout, 0.1, torch.Generator().manual_seed(0))
    assert found["clip_share/low"] > 0 and found["clip_share/high"] > 0
    assert abs(found["ratio/mean"] - 1) > 1e-3


# Groups without deviation.


class OfFirstPrompt(Reward[NoArgs]):
    """The length of outputs of one prompt; all others get the same."""

    def __call__(self, texts: Texts) -> Rewards:
        pairs = zip(texts.prompts, texts.outputs, strict=True)
        return np.array([len(output) if prompt == "b" else 0.3 for prompt, output in pairs])


class Nearly(Reward[NoArgs]):
    """Equal for all but for rounding."""

    def __call__(self, texts: Texts) -> Rewards:
        return 0.3 + 1e-8 * np.arange(len(texts)) / len(texts)


class Nothing(Reward[NoArgs]):
    """0 for all."""

    def __call__(self, texts: Texts) -> Rewards:
        return np.zeros(len(texts))


def rewarded(reward: type[Reward[Any]], algorithm: str = "grpo", **args: Any) -> Subject:
    subject = moved(small(algorithm, num_envs=8, num_samples_per_input=4, **args))
    subject.rollouts.reward = reward(NoArgs())
    return subject


@pytest.mark.parametrize("algorithm", ["grpo", "dr_grpo", "gspo", "rloo"])
def test_equal_rewards_give_no_gradient_but_that_of_the_penalty(algorithm: str) -> None:
    one = {"num_minibatches": 1}
    (gradient,), found = updated(rewarded(Same, algorithm, kl={"coeff": 0.0}, **one))
    assert (gradient == 0).all()
    assert found["groups/constant"] == 1 and found["groups/mixed"] == 0
    (gradient,), found = updated(rewarded(Same, algorithm, kl={"coeff": 0.1}, **one))
    assert gradient.norm() > 1e-6
    assert found["update_share/kl_and_entropy"] == 1
    assert gradient.norm() < 1, "and it is not blown up"


@pytest.mark.parametrize("keys", [{"kl": {"coeff": 0.1, "placement": "loss"}}, {"ent_coef": 0.1}])
def test_penalties_are_not_divided_by_a_vanishing_std(keys: dict[str, Any]) -> None:
    """With ``unit``, where rewards and so advantages are equal but for rounding."""
    args = {"kl": {"coeff": 0.0}, "num_minibatches": 1, **keys}
    (gradient,), found = updated(rewarded(Nearly, "reinforce_plus_plus", **args))
    scales = {"aggregate": "token_mean", "advantage_scale": "none", **args}
    (plain,), _ = updated(rewarded(Nothing, "reinforce_plus_plus", **scales))
    torch.testing.assert_close(gradient, plain, rtol=1e-4, atol=1e-7)
    assert plain.norm() > 1e-5 and found["update_share/kl_and_entropy"] == 1


@pytest.mark.parametrize(
    ("placement", "estimator"),
    [("reward", "k1"), ("reward", "full"), ("loss", "k3"), ("loss", "full")],
)
@pytest.mark.parametrize("algorithm", ["reinforce_plus_plus", "rloo", "grpo"])
def test_a_policy_that_is_its_reference_has_no_penalty_of_rounding(
    algorithm: str, placement: str, estimator: str
) -> None:
    kl = {"coeff": 0.1, "placement": placement, "estimator": estimator}
    subject = small(algorithm, num_envs=8, kl=kl)
    subject.rollouts.reward = Nothing(NoArgs())
    (gradient,), found = updated(subject)
    assert found["objective/kl"] == 0
    assert (gradient == 0).all()


def test_dropped_groups_are_left_out_with_their_penalties() -> None:
    free = {"kl": {"coeff": 0.0}}
    (kept,), found = updated(rewarded(OfFirstPrompt, **free))
    assert 0 < found["groups/constant"] < 1
    (dropped,), _ = updated(rewarded(OfFirstPrompt, zero_std_groups="drop", **free))
    torch.testing.assert_close(dropped, kept, rtol=1e-4, atol=1e-7)
    (uncounted,), _ = updated(
        rewarded(OfFirstPrompt, zero_std_groups="drop", count_dropped=False, **free)
    )
    torch.testing.assert_close(uncounted * found["groups/mixed"], kept, rtol=1e-4, atol=1e-7)
    (penalised,), _ = updated(rewarded(OfFirstPrompt))
    (without,), _ = updated(rewarded(OfFirstPrompt, zero_std_groups="drop"))
    assert not torch.allclose(penalised, without)


def test_an_imagined_best_reward_wakes_groups_without_deviation() -> None:
    args = {"zero_std_groups": "virtual_best", "kl": {"coeff": 0.0}}
    (gradient,), found = updated(rewarded(Same, **args))
    assert found["groups/constant"] == 1 and gradient.norm() > 1e-3
    (gradient,), _ = updated(rewarded(Same, best_reward=0.3, **args))
    assert (gradient == 0).all()


def test_a_rollout_whose_groups_are_all_dropped_makes_no_step() -> None:
    steps, found = updated(rewarded(Same, zero_std_groups="drop"))
    assert steps == [] and found["groups/constant"] == 1
    assert found["groups/used"] == 0 and found["update/num_steps"] == 0
    assert not [name for name in found if name.startswith("policy/")]


def test_steps_of_an_update_are_counted() -> None:
    """At most one of eight groups deviates, and it is in one minibatch of each pass."""
    args = {"num_minibatches": 4, "n_epochs": 3, "kl": {"coeff": 0.0}}
    steps, found = updated(rewarded(OfFirstPrompt, **args))
    assert found["update/num_steps"] == len(steps) == 12
    only = {"zero_std_groups": "drop", "filter_by_std": {"top_k": 1}}
    steps, found = updated(rewarded(OfFirstPrompt, **args, **only))
    assert found["groups/used"] == 1 / 8
    assert found["update/num_steps"] == len(steps) == 3


def resampled(reward: type[Reward[Any]], **args: Any) -> tuple[Any, dict[str, float]]:
    subject = rewarded(reward, "dapo", zero_tol=1e-6, overlong_buffer=None, **args)
    return subject.rollouts.collect(0, 0.0)


def test_groups_without_deviation_are_drawn_again() -> None:
    rollout, found = resampled(OfFirstPrompt)
    assert len(rollout) == 8 * 4
    rewards = rollout.task_rewards.sum(1).view(8, 4)
    assert (rewards.amax(1) > rewards.amin(1)).all()
    assert found["groups/num_resampled"] > 0 and found["groups/num_resampled"] % 8 == 0
    assert found["reward_std/frac_zero"] == 0
    assert 0 < found["groups/mixed"] < 1, "of all that were drawn"


def test_in_the_end_groups_without_deviation_fill_up() -> None:
    rollout, found = resampled(Same, max_resamples=3)
    assert len(rollout) == 8 * 4
    assert found["groups/num_resampled"] == 3 * 8, "exactly what was drawn in vain"
    assert found["reward_std/frac_zero"] == 1


def test_enough_groups_are_not_drawn_again() -> None:
    subject = small("dapo", num_envs=2, num_samples_per_input=16)
    kept = small("dapo", num_envs=2, num_samples_per_input=16, zero_std_groups="keep")
    (one, found), (other, _) = (each.rollouts.collect(0, 0.0) for each in (subject, kept))
    assert found["groups/num_resampled"] == 0
    assert one.outputs == other.outputs
    torch.testing.assert_close(one.rewards, other.rewards)


def test_long_outputs_cost_up_to_one() -> None:
    """Of at most 3 tokens the last 2 count: none, 1/2 or 1."""
    args = {"num_envs": 16, "zero_std_groups": "keep"}
    free, charged = (
        small("dapo", overlong_buffer=buffer, **args).rollouts.collect(0, 0.0)[0]
        for buffer in (None, 2)
    )
    assert free.outputs == charged.outputs
    costs = (free.task_rewards - charged.task_rewards).sum(1).tolist()
    lengths = [len(output) for output in free.outputs]
    assert set(lengths) == {1, 2, 3}
    assert costs == pytest.approx([(length - 1) / 2 for length in lengths], abs=1e-6)


@pytest.mark.parametrize("treatment", ["keep", "drop"])
def test_costs_of_length_do_not_wake_groups(treatment: str) -> None:
    args = {"overlong_buffer": 2, "zero_std_groups": treatment, "kl": {"coeff": 0.0}}
    steps, found = updated(rewarded(Same, **args))
    assert found["groups/constant"] == 1 and found["reward_std/frac_zero"] < 1
    assert all((gradient == 0).all() for gradient in steps)


# Keys that contradict each other.


def matching(*patterns: str) -> list[dict[str, Any]]:
    """Metrics of one name."""
    return [{"id": "matches", "args": {"pattern": pattern}} for pattern in patterns]


def test_a_metric_may_be_named_twice_as_in_published_plans() -> None:
    keys = keys_of("grpo", train_evaluation__metrics=matching("a", "a"))
    assert not resolve(FinetuneConfig, keys)[1]


@pytest.mark.parametrize(
    ("algorithm", "changes", "message"),
    [
        ("rloo", {"alg__args__n_epochs": 2}, "give 'policy_loss' = 'clipped'"),
        ("rloo", {"alg__args__num_minibatches": 2}, "give 'policy_loss' = 'clipped'"),
        ("grpo", {"alg__args__num_samples_per_input": 1}, "needs at least 2"),
        (
            "grpo",
            {
                "alg__args__zero_std_groups": "entropy_shaped",
                "alg__args__overlong_buffer": 2,
                "reward_fn__id": EVEN,
            },
            "would make right but long outputs wrong",
        ),
        ("grpo", {"alg__args__advantage": "none"}, "is of rewards minus a group's mean"),
        ("reinforce_plus_plus", {"alg__args__zero_std_groups": "drop"}, "leaves out every group"),
        ("dr_grpo", {"alg__args__zero_std_groups": "virtual_best"}, "give 'advantage' = 'group'"),
        ("gspo", {"alg__args__clip_range": 1.0}, "never clips"),
        ("gspo", {"env__n_envs": 6}, "must be a multiple"),
        ("dapo", {"env__n_envs": 16, "alg__args__overlong_buffer": 7}, "have at most 6 tokens"),
        ("grpo", {"alg__kl_div__norm_reward": True}, "give 'args.advantage_scale'"),
        ("grpo", {"alg__args__zero_tol": 2.0}, "'alg.args.zero_tol' = 2.0: must be less than 2"),
        (
            "grpo",
            {"train_evaluation__metrics": matching("a", "b")},
            "metrics[1].id' = 'matches': "
            "measures 'lexical/matches' as train_evaluation.metrics[0] does with other 'args'",
        ),
        ("grpo", {"alg__args__advantage": "running_mean"}, "is of rewards minus a group's mean"),
        (
            "rloo",
            {"alg__kl_div": {"coeff": 0.1, "estimator": "k3", "analytic_kl_reward": True}},
            "kl_div.analytic_kl_reward' = true: is the exact KL, and 'estimator' = 'k3' is not",
        ),
        (
            "grpo",
            {"alg__kl_div": {"coeff": 0.1, "placement": "reward", "analytic_kl_reward": True}},
            "and 'estimator' = 'k3', the default here, is not; give 'estimator' = 'full' instead",
        ),
    ],
)
def test_contradictions_are_refused(algorithm: str, changes: dict[str, Any], message: str) -> None:
    _, problems = resolve(FinetuneConfig, keys_of(algorithm, **changes))
    (problem,) = map(str, problems)
    assert message in problem


def test_the_published_buffer_is_left_out_where_outputs_are_shorter() -> None:
    keys = keys_of("dapo")
    del keys["alg"]["args"]["overlong_buffer"]
    config, problems = resolve(FinetuneConfig, keys)
    assert not problems and config is not None
    (notice,) = config.alg.args.notices_of_rollouts(config.alg, config.env)
    assert "'alg.args.overlong_buffer' = 4096 is left out: outputs have at most 6 tokens" in notice
    free, charged = (
        small("dapo", overlong_buffer=buffer, zero_std_groups="keep").rollouts.collect(0, 0.0)[0]
        for buffer in (None, 4096)
    )
    torch.testing.assert_close(free.task_rewards, charged.task_rewards, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("algorithm", "kl", "message"),
    [
        ("grpo", {"placement": "loss", "estimator": "k1"}, "zero in expectation"),
        ("ppo", {"placement": "loss", "estimator": "k1"}, "zero in expectation"),
        ("rloo", {"estimator": "k3"}, "not that of the KL"),
        ("a2c", {"estimator": "k2"}, "not that of the KL"),
        ("rloo", {"estimator": "full"}, "and not its own"),
        ("reinforce", {"analytic_kl_reward": True}, "and not its own"),
        ("rloo", {"estimator": "full", "analytic_kl_reward": True}, "and not its own"),
        ("grpo", {"placement": "loss", "estimator": "k1", "analytic_kl_reward": True},
         "zero in expectation"),
        ("reinforce_plus_plus", {"estimator": "full"}, None),
        ("ppo", {"estimator": "full"}, None),
        ("ppo", {"placement": "loss", "estimator": "k3"}, None),
    ],
)  # fmt: skip
def test_penalties_with_another_gradient_are_told(
    algorithm: str, kl: dict[str, Any], message: str | None
) -> None:
    changes = {"alg__kl_div": {"coeff": 0.1, "placement": "reward", **kl}}
    config, problems = resolve(FinetuneConfig, keys_of(algorithm, **changes))
    assert not problems and config is not None
    told = [notice for notice in config.alg.args.notices_of_rollouts(config.alg, config.env)
            if "KL" in notice or "estimator" in notice]  # fmt: skip
    assert len(told) == (message is not None)
    assert message is None or message in told[0]


@pytest.mark.parametrize(
    ("kl", "given", "advice"),
    [
        ({"analytic_kl_reward": True}, "'alg.kl_div.analytic_kl_reward' = true",
         {"estimator": "k1"}),
        ({"estimator": "full", "analytic_kl_reward": True},
         "'alg.kl_div.analytic_kl_reward' = true", {"estimator": "k1"}),
        ({"estimator": "full"}, "'alg.kl_div.estimator' = 'full'", {"estimator": "k1"}),
        ({"estimator": "k1", "placement": "loss", "analytic_kl_reward": True},
         "'alg.kl_div.estimator' = 'k1'", {"placement": "reward", "estimator": "k1"}),
    ],
)  # fmt: skip
def test_advice_on_the_exact_kl_is_valid(
    kl: dict[str, Any], given: str, advice: dict[str, Any]
) -> None:
    key = "alg__kl_div"
    config, _ = resolve(FinetuneConfig, keys_of("reinforce", **{key: {"coeff": 0.1} | kl}))
    assert config is not None
    (told,) = config.alg.args.notices_of_rollouts(config.alg, config.env)
    assert told.startswith(given)
    drops = "drop 'alg.kl_div.analytic_kl_reward' and give " in told
    assert drops == kl.get("analytic_kl_reward", False)
    _, problems = resolve(FinetuneConfig, keys_of("reinforce", **{key: {"coeff": 0.1} | advice}))
    assert not problems


@pytest.mark.parametrize(
    ("name", "value", "key", "other"),
    [
        ("round_size", 16, "zero_std_groups", "draw_more"),
        ("hint_share", 0.7, "zero_std_groups", "hint"),
        ("max_resamples", 3, "zero_std_groups", "resample"),
        ("running_mean_decay", 0.5, "advantage", "running_mean"),
    ],
)
def test_keys_that_another_key_leaves_unread_are_told(
    name: str, value: float, key: str, other: str
) -> None:
    plain = {f"alg__args__{name}": value, "alg__args__num_samples_per_input": 4}
    read = {**plain, f"alg__args__{key}": other, "alg__args__advantage_scale": "none"}
    for changes, count in ((plain, 1), (read, 0)):
        config, problems = resolve(FinetuneConfig, keys_of("dr_grpo", **changes))
        assert not problems and config is not None
        told = [notice for notice in config.notices() if f"'alg.args.{name}' = {value}" in notice]
        assert len(told) == count
        assert not told or f"no effect without '{key}' = '{other}'" in told[0]


UNREAD: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("grpo", {"best_reward": 2.0}, {"zero_std_groups": "hint"}, "which outputs are right"),
    ("grpo", {"count_dropped": False}, {"zero_std_groups": "drop"}, "'filter_by_std'"),
    ("grpo", {"count_dropped": False}, {"filter_by_std": {"top_k": 1}}, "'filter_by_std'"),
    ("rloo", {"ratio": "token"}, {"policy_loss": "clipped"}, "has no ratio"),
    ("rloo", {"clip_range": 0.1}, {"policy_loss": "clipped"}, "has no ratio"),
    ("rloo", {"clip_range_high": 0.3}, {"policy_loss": "clipped"}, "has no ratio"),
    ("grpo", {"policy_loss": "cispo", "clip_range_high": 0.3, "clip_range": 0.1},
     {"clip_range_high": None}, "'cispo' and 'clip_range_high'"),
    ("grpo", {"sft_batch_size": 4}, {"sft_coeff": 0.1}, "'sft_coeff' = 0"),
    ("grpo", {"sft_join_with_blank": False}, {"sft_coeff": 0.1}, "'sft_coeff' = 0"),
    ("grpo", {"sft_coeff": 0.1, "sft_seed": 3}, {"sft_samples": 2}, "without 'sft_samples'"),
    ("a2c", {"use_rms_prop": False, "rms_prop_eps": 0.1}, {"use_rms_prop": True},
     "'use_rms_prop' = false"),
    ("reinforce", {"running_mean_decay": 0.5}, {"baseline": "running_mean"},
     "without 'baseline' = 'running_mean'"),
    ("reinforce", {"dropout": True, "recompute_log_probs": False}, {"dropout": False},
     "with 'dropout'"),
    ("rejection_sampling", {"reward_threshold": 0.5}, {"select": "right"},
     "without 'select' = 'right'"),
]  # fmt: skip
"""Algorithm, keys of which the last is not read, keys with which it is, and what tells of it."""


@pytest.mark.parametrize(("algorithm", "keys", "others", "why"), UNREAD)
def test_keys_of_any_algorithm_without_effect_are_told(
    algorithm: str, keys: dict[str, Any], others: dict[str, Any], why: str
) -> None:
    name, value = list(keys.items())[-1]
    for args, count in ((keys, 1), (keys | others, 0)):
        changes: dict[str, Any] = {f"alg__args__{key}": each for key, each in args.items()}
        changes["alg__kl_div"] = {"coeff": 0.0}
        config, problems = resolve(FinetuneConfig, keys_of(algorithm, **changes))
        assert not problems and config is not None
        told = [notice for notice in config.notices() if "has no effect" in notice]
        assert len(told) == count, told
        assert not told or told[0].startswith(
            str(Problem("has no effect", f"alg.args.{name}", value))
        )
        assert not told or (why in told[0] and told[0].endswith("; drop it"))


@pytest.mark.parametrize(
    ("algorithm", "changes", "others"),
    [
        ("a2c", {"alg__policy__args__weight_decay": 0.1}, {"alg__args__use_rms_prop": False}),
        ("grpo", {"alg__kl_div__analytic_kl_reward": True, "alg__args__recompute_log_probs": False},
         {"alg__kl_div__analytic_kl_reward": False}),
    ],
)  # fmt: skip
def test_keys_that_other_parts_leave_without_effect_are_told(
    algorithm: str, changes: dict[str, Any], others: dict[str, Any]
) -> None:
    key, value = list(changes.items())[-1]
    for keys, count in ((changes, 1), (changes | others, 0)):
        config, problems = resolve(FinetuneConfig, keys_of(algorithm, **keys))
        assert not problems and config is not None
        told = [notice for notice in config.notices() if "has no effect" in notice]
        assert len(told) == count, told
        name = key.replace("__", ".")
        assert not told or told[0].startswith(str(Problem("has no effect", name, value)))


def test_penalties_from_each_token_on_have_the_exact_kl_in_their_own_advantage() -> None:
    changes = {"alg__kl_div": {"coeff": 0.1, "placement": "reward", "estimator": "full"},
               "alg__args__advantage": "right_or_wrong",
               "alg__args__advantage_scale": "none", "reward_fn__id": EVEN}  # fmt: skip
    config, problems = resolve(FinetuneConfig, keys_of("grpo", **changes))
    assert not problems and config is not None
    assert not list(config.alg.args.notices_of_rollouts(config.alg, config.env))


@pytest.mark.parametrize("advantage", ["running_mean", "cumulative_mean"])
def test_means_of_earlier_rewards_are_baselines_too(advantage: str) -> None:
    """As with REINFORCE; and they go on from a checkpoint."""
    kl = {"kl": {"coeff": 0.1, "placement": "reward"}}
    own = moved(small("rloo", advantage=advantage, **kl))
    other = moved(small("reinforce", baseline=advantage, **kl))
    again = moved(small("rloo", advantage=advantage, **kl))
    for iteration in range(3):
        steps = [subject.step(iteration) for subject in (own, other)]
        torch.testing.assert_close(*steps, rtol=1e-4, atol=1e-6)
    again.algorithm.load_state_dict(own.algorithm.state_dict())
    again.algorithm.optimizer = again.recorder
    torch.testing.assert_close(again.step(3), own.step(3))
    fresh = moved(small("rloo", advantage=advantage, **kl))
    assert (fresh.step(3) - own.step(3)).norm() > 1e-4


@pytest.mark.slow
def test_all_raise_the_reward(
    workplace: Workplace, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    model = save_model(tmp_path / "model", tokenizer)
    keys = {"num_samples_per_input": 4, "num_minibatches": 1, "learning_rate": 0.01}
    args = {f"alg__args__{key}": value for key, value in keys.items()}
    sizes = {"n_iters": 9, "eval_every": 20, "metrics": []}
    short = {f"train_evaluation__{key}": value for key, value in sizes.items()}
    runs = [reinforcement(model, name, **short, **args) for name in IDS]
    runs[IDS.index("dapo")] |= {"alg.args.overlong_buffer": None}
    runs.append(reinforcement(model, "grpo", experiment_name="lora", **short, **args,
                              alg__policy__lora={"r": 4, "alpha": 8}))  # fmt: skip
    assert workplace.run_plan(write(workplace, *runs)).status == 0
    for folder in workplace.folders():
        rewards = rewards_of(folder)
        gained = sum(rewards[-3:]) / 3 - sum(rewards[:3]) / 3
        # The adapters of a random model learn slowly.
        assert gained > 0.1 or folder.path.name.startswith("lora")
        assert all(row["policy/grad_norm"] > 0 for row in rows_of(folder)[1:4])


def test_a_checkpoint_without_means_of_earlier_rewards_loads() -> None:
    known = small("grpo").algorithm.state_dict()
    earlier = {key: known[key] for key in ("optimizer", "descent")}
    assert set(known) - set(earlier) == {"running_means", "totals", "count"}
    algorithm: Any = small("grpo", advantage="running_mean", advantage_scale="none").algorithm
    algorithm.load_state_dict(earlier)
    assert algorithm.advantages.running_means is None and algorithm.advantages.count == 0
