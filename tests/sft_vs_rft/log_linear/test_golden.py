"""Exact runs, options, solver and sampled runs against numbers of the published program.

Each comparison counts its numbers, and one that is not finite fails it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import UserError
from sft_vs_rft.log_linear.start import closest_weights, exact_weights
from sft_vs_rft.log_linear.trainer import LogLinearTrainer, Stack
from tests.sft_vs_rft.log_linear.prepared import GOLDEN, trainer, with_seed

EXACT = GOLDEN["exact"]
ROW = [*GOLDEN["exact_metrics"], "weights"]
PUBLISHED = {"weights_solver": "published", "reward_std_gradient": "published"}
Tolerance = Callable[[int, str], float]


def double(update: int, name: str) -> float:
    return 1e-9


def single(update: int, name: str) -> float:
    """The largest deviation of a double-precision program from the published one in float32."""
    bounds = {
        100: (1e-6, 2.2e-6, 2e-7),
        1_000: (8e-7, 8.5e-6, 3e-7),
        5_000: (2.7e-6, 1.2e-5, 5e-7),
        10_000: (5.5e-6, 1.1e-4, 1.2e-6),
        49_999: (5.1e-6, 9.1e-4, 1.8e-6),
    }
    values, logs, gradients = next(found for end, found in bounds.items() if update <= end)
    if "grad norm" in name:
        return gradients
    return logs if "ln_" in name or name in ("params_norm", "weights") else values


def compare(
    found: Mapping[str, float], expected: Mapping[str, float], update: int, tolerance: Tolerance
) -> int:
    """Compares numbers by name; returns how many."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        error = abs(found[name] - value)
        assert error <= tolerance(update, name), (update, name, found[name], value)
    return len(expected)


def compare_weights(
    found: Sequence[float], expected: Sequence[Any], update: int, tolerance: Tolerance
) -> int:
    named = [
        dict(zip(map(str, range(99)), row, strict=False)) for row in (found, np.ravel(expected))
    ]
    return compare(*named, update, lambda at, name: tolerance(at, "weights"))


def compare_runs(
    trainers: Sequence[LogLinearTrainer], cases: Sequence[dict[str, Any]], tolerance: Tolerance
) -> int:
    """Trains runs together to their end, and compares them with their cases by update."""
    count = 0
    for run, case in zip(trainers, cases, strict=True):
        count += compare_weights(run.model.weights.tolist(), case["initial_weights"], 0, tolerance)
    stack = Stack(trainers)
    while (update := trainers[0].epoch) < trainers[0].config.epochs:
        weights = [run.model.weights.tolist() for run in trainers]
        metrics = stack.train(trainers[0].next_epoch - update)
        for run, case, before, found in zip(trainers, cases, weights, metrics, strict=True):
            expected = dict(case["steps"].get(str(update), {}))
            if expected:
                own = expected.pop("weights")
                count += compare_weights(before, own, update, tolerance)
                count += compare(found, expected, update, tolerance)
            run.epoch = run.next_epoch
    for run, case in zip(trainers, cases, strict=True):
        if "weights_after_last_update" in case:
            last, end = case["weights_after_last_update"], run.epoch - 1
            count += compare_weights(run.model.weights.tolist(), last, end, tolerance)
    return count


def with_names(case: dict[str, Any]) -> dict[str, Any]:
    """A case with the numbers of its updates by name; those after the metrics are the weights."""
    last = len(ROW) - 1
    steps = {
        update: dict(zip(ROW, [*numbers[:last], numbers[last:]], strict=True))
        for update, numbers in case["steps"].items()
    }
    return case | {"steps": steps}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", double), ("float32", single)])
def test_exact_runs(dtype: str, tolerance: Tolerance, tmp_path: Path) -> None:
    trainers = [trainer(tmp_path / name, setting=case["setting"], dtype=dtype)
                for name, case in EXACT.items()]  # fmt: skip
    cases = [with_names(case[dtype]) for case in EXACT.values()]
    updates, metrics, weights = 35, len(ROW) - 1, 5
    assert compare_runs(trainers, cases, tolerance) == len(EXACT) * (
        weights + updates * (metrics + weights) + weights
    )
    reached = {name: run.updates_to_target for name, run in zip(EXACT, trainers, strict=True)}
    assert [reached[name] for name in sorted(reached)] == [None, 10_690, 168, None, 19_165]


@pytest.mark.parametrize("case", GOLDEN["options"])
def test_options_as_published(case: str, tmp_path: Path) -> None:
    golden = GOLDEN["options"][case]
    drawn = case == "random_features_and_rewards"  # in float32 alone
    dtype, tolerance = ("float32", single) if drawn else ("float64", double)
    updates = list(golden[dtype]["steps"])
    keys = golden["keys"] | PUBLISHED | {"dtype": dtype, "epochs": int(updates[-1]) + 1}
    run = trainer(tmp_path, setting=golden.get("setting"), **keys)
    compared = compare_runs([run], [golden[dtype]], tolerance)
    numbers = len(golden[dtype]["steps"][updates[0]]) - 1 + len(run.model.weights)
    assert compared == len(updates) * numbers + len(run.model.weights)


def test_a_detached_deviation_is_not_the_published_one(tmp_path: Path) -> None:
    """Published, the objective has no bound and turns NaN; detached, the policy finds the best."""
    golden = GOLDEN["options"]["reward_std"]
    keys = golden["keys"] | {"setting": golden["setting"], "epochs": 501}
    detached, published = (
        trainer(tmp_path / name, reward_std_gradient=name, **keys)
        for name in ("detached", "published")
    )
    for run in (detached, published):
        (first,) = Stack([run]).train(501)
        assert first["reward"] == pytest.approx(golden["float32"]["steps"]["0"]["reward"], abs=1e-6)
    assert np.isnan(published.model.weights.numpy()).all()
    (last,) = Stack([detached]).train(1)
    assert last["expected ground truth reward"] > 0.9


@pytest.mark.parametrize("case", GOLDEN["solver"])
def test_the_published_solver(case: str) -> None:
    golden = GOLDEN["solver"][case]
    given = golden["inputs"]
    features, probabilities = (
        np.array(given[name]) for name in ("output_features", "desired_probs")
    )
    arguments = features, probabilities, given.get("temperature", 1.0)
    weights = closest_weights(*arguments)
    assert weights == pytest.approx(np.ravel(golden["weights"]), abs=1e-9)
    if case in ("more_outputs_than_features", "two_inputs"):
        with pytest.raises(UserError, match="no weights give these probabilities"):
            exact_weights(*arguments)
    else:
        assert exact_weights(*arguments).tolist() == weights.tolist()


@pytest.mark.parametrize(
    ("runs", "updates", "compared_at"),
    [(150, 5_001, 12), pytest.param(100, 50_000, 17, marks=pytest.mark.slow)],
)
def test_sampled_runs_have_the_means_of_a_thousand(
    runs: int, updates: int, compared_at: int, tmp_path: Path
) -> None:
    cases = GOLDEN["sampled"]
    trainers = [
        with_seed(first, seed)
        for name, case in cases.items()
        for first in [trainer(tmp_path / name, setting=case["setting"],
                              use_expected_reinforce_updates=False, epochs=updates)]
        for seed in range(runs)
    ]  # fmt: skip
    stack = Stack(trainers)
    compared = 0
    while (update := trainers[0].epoch) < updates:
        metrics = stack.train(trainers[0].next_epoch - update)
        for number, case in enumerate(cases.values()):
            if update == 0 or str(update) not in case["steps"]:
                continue
            expected = case["steps"][str(update)]
            own = metrics[number * runs : (number + 1) * runs]
            reward = np.mean([row["expected ground truth reward"] for row in own])
            error = expected["std"] * math.sqrt(1 / runs + 1 / 1000)
            assert abs(reward - expected["mean"]) <= 3 * error, (update, number)
            share = np.mean([row["input_0_y_prob_0"] > 0.5 for row in own])
            spread = math.sqrt(max(expected["share"] * (1 - expected["share"]), 1e-3) / runs)
            assert abs(share - expected["share"]) <= 3 * spread, (update, number)
            compared += 2
        for run in trainers:
            run.epoch = run.next_epoch
    assert compared == 2 * len(cases) * compared_at
