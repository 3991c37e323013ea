"""Runs trained together are what they would be alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from common.run.folder import RunFolder, read_json
from common.training import checkpoint
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.models.build import mlp
from sft_vs_rft.vectorized.stack import STACKED_OPTIMIZERS, StackedModel
from tests.conftest import TINY_DIGITS, Workplace, without_seconds
from tests.gpu_generators import GpuGenerators

EPOCHS = 4
BASE: dict[str, Any] = {
    **TINY_DIGITS,
    "epochs": EPOCHS,
    "lr": 0.003,
    "opt_method": "expected_reinforce",
    "experiment_name": "a",
}
DIFFERENT: list[dict[str, Any]] = [
    {},
    {"lr": 0.02, "weight_decay": 0.1},
    {"random_seed": 4, "samples_rnd_seed": 5, "init_rnd_seed": 6},
    {"random_seed": 8, "samples_rnd_seed": None, "init_rnd_seed": None},
    {"frac_samples_to_modify_labels": 0},
    {"frac_samples_to_modify_labels": 0.05, "min_reward": -0.3},
    {"kl_regularization_coeff": 0.4, "logits_temperature": 2},
    {"kl_regularization_coeff": 0.7, "kl_reg_ref_unif": True, "reward_type": "labels_with_custom"},
    {"frac_samples_to_modify_labels": 1, "reward_type": "labels_with_custom"},
]
PRETRAIN = {
    "opt_method": "supervised",
    "use_multiple_labels_per_sample": True,
    "frac_samples_to_modify_labels": 0,
}


def configurations(members: list[dict[str, Any]], **shared: Any) -> list[dict[str, Any]]:
    runs = [BASE | shared | member for member in members]
    named = [run | {"experiment_name": f"run{place}"} for place, run in enumerate(runs)]
    return [{"base_config": run} for run in named]


def by_name(workplace: Workplace, plan: str) -> dict[str, RunFolder]:
    return {folder.path.name: folder for folder in workplace.folders(plan)}


def close(expected: Any) -> Any:
    return pytest.approx(expected, rel=1e-4, abs=1e-6)


def assert_equal_runs(ours: RunFolder, theirs: RunFolder) -> None:
    """Numbers agree within float tolerance; what is drawn, and all else, agrees entirely."""
    rows, expected = without_seconds(ours), without_seconds(theirs)
    assert [row.keys() for row in rows] == [row.keys() for row in expected]
    for row, other in zip(rows, expected, strict=True):
        assert row == close(other)
    assert read_json(ours.path / "data.json") == read_json(theirs.path / "data.json")
    config, other = read_json(ours.config), read_json(theirs.config)
    assert config.pop("load_model_from_checkpoint") is None or other["load_model_from_checkpoint"]
    other.pop("load_model_from_checkpoint")
    assert config == other
    assert read_json(ours.provenance)["seeds"] == read_json(theirs.provenance)["seeds"]
    assert read_json(ours.summary)["last"]["test loss"] == close(
        read_json(theirs.summary)["last"]["test loss"]
    )
    tables = [pd.read_parquet(folder.table("per_input")) for folder in (ours, theirs)]
    np.testing.assert_allclose(*[t.to_numpy(dtype=float) for t in tables], rtol=1e-4, atol=1e-6)
    assert_equal_states(*[checkpoint.load(f.checkpoints / "last.pt") for f in (ours, theirs)])


def assert_equal_states(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    # Python's generator is left out: some package draws from it when it is imported.
    assert torch.equal(ours["random"]["torch"], theirs["random"]["torch"])
    assert str(ours["random"]["numpy"]) == str(theirs["random"]["numpy"])
    assert (ours["epoch"], ours["facts"]) == (theirs["epoch"], theirs["facts"])
    assert ours["optimizer"]["param_groups"] == theirs["optimizer"]["param_groups"]
    torch.testing.assert_close(ours["model"], theirs["model"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        ours["optimizer"]["state"], theirs["optimizer"]["state"], rtol=1e-4, atol=1e-6
    )


def made_both_ways(workplace: Workplace, **document: Any) -> None:
    for name, vectorize in (("together", True), ("alone", False)):
        plan = workplace.write_plan(name, vectorize=vectorize, **document)
        assert workplace.run_plan(plan).status == 0


@pytest.mark.parametrize(
    ("shared", "members"),
    [
        ({"optimizer": "adam"}, DIFFERENT),
        ({"optimizer": "sgd", "lr": 0.1}, DIFFERENT),
        ({"opt_method": "supervised", "validate_every": 3}, DIFFERENT),
        ({"batch_size": 5, "lr": 1e-4}, DIFFERENT),
        ({"batch_size": 5}, [{"frac_samples_to_modify_labels": 0}, {"lr": 1e-4}]),
        ({"opt_method": "reinforce", "optimizer": "sgd", "lr": 0.1}, DIFFERENT[:-1]),
        ({**PRETRAIN, "diagnostics": False}, DIFFERENT[:4]),
        (PRETRAIN, [DIFFERENT[0], DIFFERENT[1], DIFFERENT[3], {"kl_regularization_coeff": 0.5}]),
    ],
    ids=[
        "adam",
        "sgd",
        "supervised",
        "small batches",
        "none changed",
        "sampled",
        "not measured",
        "pretraining",
    ],
)
def test_runs_together_equal_runs_alone(
    workplace: Workplace, shared: dict[str, Any], members: list[dict[str, Any]]
) -> None:
    made_both_ways(workplace, configurations=configurations(members, **shared))
    together, alone = by_name(workplace, "together"), by_name(workplace, "alone")
    assert together.keys() == alone.keys()
    for name, folder in together.items():
        assert_equal_runs(folder, alone[name])
        assert folder.read_status()["num_together"] == len(members)
        assert alone[name].read_status()["num_together"] == 1


def test_each_stops_early_for_itself(workplace: Workplace) -> None:
    stopping = {
        "epochs": 12, "optimizer": "sgd", "score_metric_name": "test loss", "early_stop": True,
        "early_stop_restore_best_weights": True, "theory_every": 4, "theory_inputs": 5,
    }  # fmt: skip
    steps = [{"lr": 3.0}, {"lr": 0.3}, {"lr": 1.0, "random_seed": 5}]
    made_both_ways(workplace, configurations=configurations(steps, **stopping))
    alone = by_name(workplace, "alone")
    ends = {}
    for name, folder in by_name(workplace, "together").items():
        assert_equal_runs(folder, alone[name])
        summary = read_json(folder.summary)
        assert summary["stop_reason"] == read_json(alone[name].summary)["stop_reason"]
        ends[folder.read_status()["ended"]] = len(without_seconds(folder))
        tables = [pd.read_parquet(f.table("theory")) for f in (folder, alone[name])]
        np.testing.assert_allclose(*[t.to_numpy(dtype=float) for t in tables], rtol=1e-4)
    in_order_of_end = [epochs for _, epochs in sorted(ends.items())]
    assert in_order_of_end == sorted(in_order_of_end)
    assert len(set(in_order_of_end)) > 1


@pytest.mark.parametrize("method", ["expected_reinforce", "reinforce"])
def test_measuring_does_not_change_what_runs_learn(workplace: Workplace, method: str) -> None:
    for measured in (True, False):
        runs = configurations(DIFFERENT, opt_method=method, diagnostics=measured)
        plan = workplace.write_plan(str(measured), vectorize=True, configurations=runs)
        assert workplace.run_plan(plan).status == 0
    measured, plain = (
        [checkpoint.load(f.checkpoints / "last.pt")["model"] for f in workplace.folders(plan)]
        for plan in ("True", "False")
    )
    for one, other in zip(measured, plain, strict=True):
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


@pytest.mark.parametrize(
    ("name", "reference"), [("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_stacked_optimizers_are_those_of_torch(
    name: str, reference: type[torch.optim.Optimizer]
) -> None:
    settings = [{"lr": 0.1, "weight_decay": 0.0}, {"lr": 0.002, "weight_decay": 0.3}]
    ours = [mlp((4,), (3,), 2).double() for _ in settings]
    theirs = [mlp((4,), (3,), 2).double() for _ in settings]
    for one, other in zip(ours, theirs, strict=True):
        other.load_state_dict(one.state_dict())
    optimizers = [reference(m.parameters(), **s) for m, s in zip(theirs, settings, strict=True)]
    bearers = [reference(m.parameters(), **s) for m, s in zip(ours, settings, strict=True)]
    for step in range(7):
        if step % 3 == 0:  # stacked anew, the optimisers' states go on
            stack = StackedModel(ours)
            stacked = STACKED_OPTIMIZERS[name](stack, bearers)
        gradient = torch.randn_like(stack.weights)
        stacked.step(gradient)
        for row, (model, optimizer) in enumerate(zip(theirs, optimizers, strict=True)):
            for param, own in zip(model.parameters(), stack.views(gradient[row]), strict=True):
                param.grad = own.clone()
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=1e-12, atol=1e-12)
    for one, other in zip(bearers, optimizers, strict=True):
        torch.testing.assert_close(
            one.state_dict()["state"], other.state_dict()["state"], rtol=1e-12, atol=1e-12
        )


def test_a_stack_computes_what_its_models_do() -> None:
    models = [mlp((2, 3), (5, 4), 3).double() for _ in range(3)]
    inputs = torch.randn(3, 7, 2, 3, dtype=torch.float64)
    expected = torch.stack([model(own) for model, own in zip(models, inputs, strict=True)])
    torch.testing.assert_close(StackedModel(models)(inputs), expected, rtol=1e-12, atol=1e-12)


def test_runs_are_alike_when_they_differ_in_numbers_and_seeds_alone() -> None:
    def key(**changes: Any) -> str:
        return ControlledConfig.model_validate(TINY_DIGITS | changes).vectorize_key()

    assert {key(**changes) for changes in DIFFERENT} == {key()}
    others = [
        key(**{name: value}) for name, value in (
            ("epochs", 3), ("batch_size", 16), ("optimizer", "sgd"), ("num_test_samples", 41),
            ("mlp_hidden_layer_sizes", [9]), ("opt_method", "reinforce"), ("diagnostics", False),
            ("gpu_ids", [0]), ("early_stop", True),
        )
    ]  # fmt: skip
    assert len({key(), *others}) == 1 + len(others)


def test_each_run_keeps_its_own_stream_of_the_gpu(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = GpuGenerators(2, monkeypatch)
    monkeypatch.setattr("common.training.stepwise_run.run_gpus", lambda ids: (1,))

    def seed(number: int) -> None:
        gpus.generators[1].manual_seed(number)
        torch.manual_seed(number)

    monkeypatch.setattr("common.training.seeding.seed_torch", seed)
    plan = workplace.write_plan(
        vectorize=True, configurations=configurations([{}, {"random_seed": 4}])
    )
    assert workplace.run_plan(plan).status == 0
    states = [checkpoint.load_last(f.checkpoints)["random"]["cuda"] for f in workplace.folders()]
    for (found,), number in zip(states, (1, 4), strict=True):
        assert torch.equal(found, torch.Generator().manual_seed(number).get_state())
