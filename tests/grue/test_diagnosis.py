"""Estimates of silent groups by size, against simulation and exact sums, and their causes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from grue.diagnosis import causes, gradients
from grue.diagnosis.diagnose import Sampled, diagnose
from grue.diagnosis.group_size import (
    BetaBinomial,
    estimated,
    group_sizes_for,
    modelled_silent_share,
    silent_share,
)

RNG = np.random.default_rng


def right_or_wrong(chances, num_samples, seed=0):
    draws = RNG(seed).random((len(chances), num_samples))
    return (draws < np.asarray(chances)[:, None]).astype(float)


@pytest.mark.parametrize("size", range(2, 7))
def test_the_share_is_that_of_all_groups_among_the_samples(size):
    rewards = RNG(1).integers(0, 3, (5, 6)).astype(float)
    silent = [
        len(set(group)) == 1 for row in rewards for group in itertools.combinations(row, size)
    ]
    found = silent_share(rewards, size, None, seed=0)
    assert found.value == pytest.approx(np.mean(silent))
    assert found.low <= found.value <= found.high


def test_the_share_is_unbiased_for_every_size():
    chances = np.tile([0.05, 0.3, 0.9], 4000)
    rewards = right_or_wrong(chances, 8)
    for size in range(2, 9):
        expected = np.mean(chances**size + (1 - chances) ** size)
        found = silent_share(rewards, size, None, seed=0)
        assert found.value == pytest.approx(expected, abs=0.01)


def test_where_all_inputs_are_alike_the_interval_is_not_a_point():
    none, every = (silent_share(rewards, 2, None, seed=0)
                   for rewards in (np.tile([0.0, 1.0], (20, 1)), np.zeros((20, 2))))  # fmt: skip
    assert (none.value, none.low) == (0, 0) and none.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert (every.value, every.high) == (1, 1) and every.low == pytest.approx(0.025 ** (1 / 20))


def test_an_interval_covers_the_truth_as_often_as_it_says():
    truth, covered = 0.3, 0
    for seed in range(200):
        values = (RNG(seed).random(100) < truth).astype(float)
        found = estimated(values, lambda v: float(v.mean()), seed=seed)
        covered += found.low <= truth <= found.high
    assert 0.9 <= covered / 200 <= 0.99


@pytest.mark.parametrize(("a", "b"), [(0.5, 2.0), (5.0, 5.0), (0.02, 0.05)])
def test_the_model_finds_the_distribution_that_made_the_data(a, b):
    rng = RNG(2)
    num_right = rng.binomial(16, rng.beta(a, b, 20_000))
    model = BetaBinomial.fit(num_right, 16)
    assert (model.a, model.b) == (pytest.approx(a, rel=0.05), pytest.approx(b, rel=0.05))


@pytest.mark.parametrize("size", [2, 8, 64])
def test_its_share_is_the_integral_over_chances(size):
    model = BetaBinomial(0.7, 1.9)
    chances = RNG(3).beta(0.7, 1.9, 400_000)
    expected = np.mean(chances**size + (1 - chances) ** size)
    assert model.silent_share(size) == pytest.approx(expected, abs=3e-3)


def test_beyond_the_samples_the_model_continues_the_measured_share():
    chances = RNG(4).beta(0.4, 1.0, 3000)
    rewards = right_or_wrong(chances, 16)
    found = modelled_silent_share(rewards, 64, None, seed=0)
    assert found is not None
    assert found.value == pytest.approx(np.mean(chances**64 + (1 - chances) ** 64), abs=0.02)
    assert found.low < found.value < found.high
    assert modelled_silent_share(2 * rewards - 1, 64, None, seed=0) == found  # any two values
    three = np.where(RNG(5).random(rewards.shape) < 0.1, 0.5, rewards)
    assert modelled_silent_share(three, 64, None, seed=0) is None


def test_equal_rewards_are_continued_by_no_model():
    for equal in (np.zeros((20, 4)), np.ones((20, 4))):
        assert modelled_silent_share(equal, 64, None, seed=0) is None
        found = group_sizes_for(equal, (0.5,), None, seed=0)[0.5]
        assert (found.size, found.by_model) == (np.inf, False)


def test_rewards_within_the_tolerance_are_one_value_of_the_model():
    equal = np.array([[0.3, 0.1 + 0.2, 0.3, 0.3]] * 4)
    assert modelled_silent_share(equal, 64, None, seed=0) is None
    found = group_sizes_for(equal, (0.5,), None, seed=0)[0.5]
    assert (found.size, found.by_model) == (np.inf, False)
    rewards = 1 + right_or_wrong(np.full(50, 0.5), 4)
    rounded = rewards * (1 + 1e-9 * RNG(1).random(rewards.shape))
    exact = modelled_silent_share(rewards, 64, None, seed=0)
    assert exact is not None
    assert modelled_silent_share(rounded, 64, None, seed=0) == exact
    for values, zero_tol in ((rounded, 0.0), (rewards, 1.0)):
        assert modelled_silent_share(values, 64, zero_tol, seed=0) is None


def test_a_size_is_measured_up_to_the_samples_and_modelled_above():
    chances = np.full(2000, 0.1)
    rewards = right_or_wrong(chances, 16)
    found = group_sizes_for(rewards, (0.5, 0.05), None, seed=0)
    assert (found[0.5].size, found[0.5].by_model) == (7, False)  # 0.9^6 = 0.53, 0.9^7 = 0.48
    modelled = found[0.05]  # 0.9^28 = 0.052, 0.9^29 = 0.047
    assert modelled.by_model and 27 <= modelled.size <= 31
    assert all(one.low <= one.size <= one.high < one.low + 8 for one in found.values())
    for silent in (np.zeros((10, 4)), RNG(5).normal(size=(4, 1)).repeat(3, 1)):
        assert group_sizes_for(silent, (0.5,), None, seed=0)[0.5].size == np.inf


def test_each_silent_input_has_one_cause():
    rewards = np.array([[0, 0], [0, 0], [1, 1], [0.5, 0.5], [0, 1], [1, 1]], float)
    outputs = [["a", "a"], ["a", "b"], ["a", "b"], ["a", "b"], ["a", "b"], ["c", "c"]]
    found = causes.causes_of(rewards, outputs, None)
    assert found.equal_outputs.tolist() == [True, False, False, False, False, False]
    assert found.lowest.tolist() == [False, True, False, False, False, False]
    assert found.largest.tolist() == [False, False, True, False, False, True]
    assert found.between.tolist() == [False, False, False, True, False, False]
    assert found.silent.tolist() == [True, True, True, True, False, True]


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_causes_do_not_depend_on_the_unit_of_the_reward(unit):
    rewards = unit * np.array([[0, 0], [1e-3, 1e-3], [0.5, 0.5], [1 - 1e-5, 1 - 1e-5], [1, 1]])
    found = causes.causes_of(rewards, [["a", "b"]] * 5, None)
    assert found.lowest.tolist() == [True, False, False, False, False]
    assert found.between.tolist() == [False, True, True, True, False]
    assert found.largest.tolist() == [False, False, False, False, True]


def test_rewards_within_the_given_tolerance_of_the_largest_are_solved():
    rewards = np.array([[0.0, 0.1], [0.9, 1.0], [0.8, 0.8]])
    found = causes.causes_of(rewards, [["a", "b"]] * 3, 0.1)
    assert found.lowest.tolist() == [True, False, False]
    assert found.largest.tolist() == [False, True, False]
    assert found.between.tolist() == [False, False, True]


def test_a_reward_that_never_matches_is_told_from_one_that_differs_between_inputs():
    never, between = np.zeros((3, 4)), np.arange(3.0)[:, None].repeat(4, 1)
    assert causes.never_matches(never, None) and not causes.varies_between_alone(never, None)
    assert causes.varies_between_alone(between, None) and not causes.never_matches(between, None)


def test_parts_of_a_sum_tell_their_share_of_the_variance():
    constant, varying = np.ones((2, 4)), np.array([[0, 1, 0, 1], [2, 2, 2, 2]], float)
    assert causes.deviating_parts({"a": constant, "b": varying}) == {"a": 0, "b": 1}
    halves = causes.deviating_parts({"b": varying, "c": 2 * varying})
    assert halves == pytest.approx({"b": 0.2, "c": 0.8})
    assert causes.deviating_parts({"a": constant}) == {"a": 0}


def sampled(rewards, **keys):
    array = np.asarray(rewards, float)
    outputs = [[f"text {place}" for place in range(array.shape[1])] for _ in array]
    return Sampled(array, keys.pop("outputs", outputs), **keys)


def test_sentences_have_the_numbers():
    rewards = [[0] * 4] * 5 + [[1] * 4] * 2 + [[0, 1, 0, 0]] * 3
    found = diagnose(sampled(rewards), seed=0)
    assert found.keep.sum() == 3 and found.solved.sum() == 2 and found.warm_up.sum() == 5
    assert found.control(0).sum() == 3 and (found.control(0) == found.control(0)).all()
    silent, why, size, supervised, filtering = found.sentences()
    assert silent.startswith("7 of 10 inputs are silent, with equal rewards of all 4 outputs")
    assert "70 %" in silent
    assert why == (
        "Of the silent inputs 5 have different outputs with the lowest reward 0 (too hard, or a "
        "reward that does not match: 'text 0', 'text 1', 'text 2') and 2 have the largest reward 1 "
        "(too easy)."
    )
    assert "beta-binomial" in size
    assert "the 5 of 10 inputs (50 %)" in supervised
    assert "keeps 3 of 10 (keep.jsonl)" in filtering and "3.33 times the samples" in filtering


def test_sentences_tell_what_makes_all_groups_silent():
    never = diagnose(sampled(np.zeros((4, 3))), seed=0)
    assert "has the reward 0: the reward may never match" in never.sentences()[1]
    assert "first: 'text 0', 'text 1', 'text 2'." in never.sentences()[1]
    assert never.sentences()[2] == (
        "Group size that leaves at most 50 % silent groups: none up to 3; 20 % silent groups: none "
        "up to 3; 10 % silent groups: none up to 3."
    )
    assert never.warm_up.all() and not never.solved.any()
    assert never.sentences()[4] == "A filter of silent inputs would leave none to train on."
    between = diagnose(sampled(np.arange(4.0)[:, None].repeat(3, 1)), seed=0)
    assert between.sentences()[1] == (
        "Rewards deviate between inputs (std 1.29) and within none of them: the reward may depend "
        "on the input alone, for outputs differ. Of the silent inputs 1 has different outputs with "
        "the lowest reward 0 (too hard, or a reward that does not match: 'text 0', 'text 1', "
        "'text 2'), 1 has the largest reward 3 (too easy) and 2 have different outputs with an "
        "equal reward between these (the reward is too coarse: 'text 0', 'text 1', 'text 2')."
    )


@pytest.mark.parametrize(
    ("rewards", "words"),
    [
        ([[0, 0], [0, 0]], "2 of 2 inputs have equal outputs, too (too little randomness in"),
        ([[0, 0], [1, 1]], "within none of them: their outputs are equal (too little randomness"),
        ([[0, 0], [1, 1]], "1 has the largest reward 1 (too easy, 1 of them with equal outputs)."),
    ],
)
def test_equal_outputs_are_told_whatever_their_rewards(rewards, words):
    found = diagnose(sampled(rewards, outputs=[["a", "a"], ["b", "b"]]), seed=0)
    assert words in found.sentences()[1]


@pytest.mark.parametrize("others", [0.0, 1.0])
def test_outputs_that_may_be_cut_off_are_told(others):
    rewards = np.array([[0.0, 0.0], [0.0, 0.0], [others, others]])
    outputs = [["a", "b"], ["c", "d"], ["e", "f"]]
    at_limit = np.array([[True, True], [True, False], [True, True]])
    (_, why, *_) = diagnose(Sampled(rewards, outputs, {}, at_limit), seed=0).sentences()
    share = "75" if others else "83.3"
    assert f"{share} % of these outputs with the lowest reward are as long as an output may" in why
    (_, why, *_) = diagnose(Sampled(rewards, outputs, {}, at_limit & False), seed=0).sentences()
    assert "as long" not in why


def test_inputs_with_equal_outputs_are_told_from_those_with_different_ones():
    outputs = [["a", "a"], ["b", "c"], ["d", "d"], ["e", "f"]]
    found = diagnose(sampled([[0, 0], [1, 1], [0, 0], [2, 2]], outputs=outputs), seed=0)
    assert (
        "2 have equal outputs (too little randomness in sampling), and of the others the reward "
        "may depend on the input alone. "
    ) in found.sentences()[1]


def test_three_outputs_are_of_three_inputs_where_these_are():
    outputs = [["a", "b"], ["a", "c"], ["d", "e"], ["f", "g"]]
    rewards = [[0, 0], [0, 0], [0, 0], [0, 1]]
    assert (
        "match: 'a', 'd', 'b')"
        in diagnose(sampled(rewards, outputs=outputs), seed=0).sentences()[1]
    )


def test_sentences_tell_the_part_that_deviates_alone():
    varying = np.array([[0.0, 1.0], [1.0, 0.0]])
    parts = {"right": np.zeros((2, 2)), "style": varying}
    found = diagnose(sampled(varying, parts=parts), seed=0)
    assert found.sentences()[1] == (
        "No input is silent. Of the reward's parts 'style' alone deviates within inputs."
    )
    both = diagnose(sampled(varying, parts={"a": varying, "b": 3 * varying}), seed=0)
    assert "in the deviation within inputs: a 10 %, b 90 %." in both.sentences()[1]
    against = {"a": varying, "b": -varying}
    cancelled = diagnose(sampled(np.zeros((2, 2)), parts=against), seed=0).sentences()[1]
    assert "may never match" in cancelled and cancelled.endswith("a 50 %, b 50 %.")
    equal = diagnose(sampled(np.zeros((2, 2)), parts={"a": np.ones((2, 2)), "b": -np.ones((2, 2))}),
                     seed=0)  # fmt: skip
    assert equal.sentences()[1].endswith("No part of the reward deviates within inputs.")


def test_a_half_of_one_input_has_no_standard_error() -> None:
    values = np.array([1.0, 2.0, 4.0])
    found = gradients.sentence(values, values, values)
    assert "1.5 on average (standard error 0.5) over the half" in found
    assert "4 on average over the other half" in found


def test_a_modelled_share_of_inputs_that_are_alike_has_no_interval():
    alike, others = np.tile([0.0, 1.0], (20, 2)), right_or_wrong(np.linspace(0, 1, 20), 4)
    for rewards, has_interval in ((alike, False), (others, True)):
        found = diagnose(Sampled(rewards, [["a", "b", "c", "d"]] * 20), seed=0)
        (_, _, group_size, *_) = found.sentences()
        _, doubled = group_size.split("Twice as many samples")
        assert ("95 % interval" in doubled) == has_interval
        assert ("all inputs are alike" in doubled) != has_interval
