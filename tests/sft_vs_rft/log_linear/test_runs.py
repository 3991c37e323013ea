"""Runs as folders: rows, resuming, runs made together, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from common.errors import Interrupted
from common.experiment import Context
from common.run.folder import RunFolder, read_json, read_json_lines
from common.training import checkpoint
from sft_vs_rft.log_linear.experiment import run as run_alone
from sft_vs_rft.log_linear.together import run_together
from tests.benchmarks.vectorized import Member
from tests.conftest import Workplace
from tests.sft_vs_rft.log_linear.prepared import GOLDEN, STALL, config
from tests.sft_vs_rft.log_linear.test_objective import SETTING

SAMPLED = {"use_expected_reinforce_updates": False}


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run without the time that they took."""
    found = read_json_lines(folder / "metrics.jsonl")
    return [{name: value for name, value in row.items() if name != "seconds"} for row in found]


def weights(folder: Path) -> list[float]:
    state = checkpoint.load(folder / "checkpoints/last.pt")
    assert isinstance(state["model"]["weights"], torch.Tensor)
    found: list[float] = state["model"]["weights"].tolist()
    return found


def make(folder: Path, *, seed: int = 3, **keys: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    run_alone(config(**{"setting": STALL, **keys}), Context(RunFolder(folder), seed=seed))
    return folder


def test_rows_thin_out_as_the_run_goes_on(tmp_path: Path) -> None:
    expected = [*range(11), *range(20, 101, 10), *range(150, 1001, 50), 1500, 2000, 2499]
    folder = make(tmp_path, epochs=2500)
    assert [row["epoch"] for row in rows(folder)] == expected
    assert read_json(folder / "summary.json")["last"]["epoch"] == 2499
    every = rows(make(tmp_path / "every", epochs=30, log_every_update=True))
    assert [row["epoch"] for row in every] == [*range(30)]
    assert [row for row in every if row["epoch"] <= 20 and row["epoch"] in expected] == rows(
        folder
    )[:12]


def test_the_setting_is_recorded_as_a_setting_file(tmp_path: Path) -> None:
    keys = {"features_type": "rnd", "init_type": "gauss", "epochs": 12, "dtype": "float64"}
    folder = make(tmp_path / "first", setting=None, **keys)
    record = json.loads((folder / "setting.json").read_text())
    start = rows(folder)[0]
    (probabilities,) = record.pop("initial_policy_probabilities")  # others have weights like these
    assert probabilities == [start[f"input_0_y_prob_{output}"] for output in range(10)]
    again = make(tmp_path / "again", setting=record, epochs=12, dtype="float64")
    assert rows(again) == rows(folder)


@pytest.mark.parametrize(
    "keys", [SAMPLED, {"optimizer": "adam"}, {**SAMPLED, "optimizer": "adam", "dtype": "float64"}]
)
def test_a_run_that_is_stopped_and_killed_has_equal_results(
    keys: dict[str, Any], tmp_path: Path
) -> None:
    class Killed(Exception):
        pass

    def killing(done: int, total: int, doing: str = "") -> None:
        if done > 900:
            raise Killed

    keys = {"epochs": 2600, "setting": GOLDEN["sampled"]["proxy 0.05"]["setting"]} | keys
    whole = make(tmp_path / "whole", **keys)
    parts = RunFolder(tmp_path / "parts")
    parts.path.mkdir()
    stops = iter([False] * 25)
    with pytest.raises(Interrupted):
        context = Context(parts, seed=3, stop_requested=lambda: next(stops, True))
        run_alone(config(**keys), context)
    at_stop = len(rows(parts.path))
    with pytest.raises(Killed):
        run_alone(config(**keys), Context(parts, seed=3, progress=killing))
    assert len(rows(parts.path)) > at_stop
    run_alone(config(**keys), Context(parts, seed=3))
    assert rows(parts.path) == rows(whole)
    assert weights(parts.path) == weights(whole)
    names = ("score", "updates_to_target")
    ends = [read_json(folder / "summary.json") for folder in (parts.path, whole)]
    assert [ends[0].get(name) for name in names] == [ends[1].get(name) for name in names]


def member(folder: Path, seed: int, **keys: Any) -> Member:
    folder.mkdir(parents=True)
    return Member(config(**keys), Context(RunFolder(folder), seed=seed))  # type: ignore[arg-type]


@pytest.mark.parametrize("shared", [{}, SAMPLED | {"optimizer": "adam"}])
def test_runs_made_together_are_bit_for_bit_those_made_alone(
    shared: dict[str, Any], tmp_path: Path
) -> None:
    """They differ in seed, size, start, lr, temperature and penalty; one is ahead of the others."""
    different: list[dict[str, Any]] = [
        {"setting": STALL, "kl_regularization_coeff": 0.1},
        {"setting": STALL, "kl_regularization_coeff": 0.2, "lr": 0.5},
        {"setting": SETTING, "kl_regularization_coeff": 0.1, "kl_reg_ref_unif": True},
        {"setting": GOLDEN["exact"]["neg_inprod_with_gt_50000_kl_0_sgd_lr_0-1"]["setting"],
         "kl_regularization_coeff": 0.1, "logits_temperature": 2},
    ]  # fmt: skip
    keys = [{"epochs": 700, **shared, **own} for own in different]
    assert len({config(**own).vectorize_key() for own in keys}) == 1
    members = [member(tmp_path / f"{seed}", seed, **own) for seed, own in enumerate(keys)]
    stops = iter([False] * 25)
    with pytest.raises(Interrupted):
        ahead = replace(members[1].context, stop_requested=lambda: next(stops, True))
        run_alone(config(**keys[1]), ahead)
    run_together(members)
    assert all(each.is_over for each in members)
    for seed, own in enumerate(keys):
        alone = make(tmp_path / f"alone{seed}", seed=seed, **own)
        together = tmp_path / f"{seed}"
        assert rows(together) == rows(alone)
        assert weights(together) == weights(alone)


def test_runs_of_another_kind_are_not_made_together() -> None:
    keys = [{}, {"kl_regularization_coeff": 0.1}, SAMPLED, {"dtype": "float64"}, {"epochs": 7}]
    assert len({config(**own).vectorize_key() for own in keys}) == len(keys)
    assert config(use_wandb=True).why_alone() is not None


def test_a_number_that_is_not_finite_ends_the_run_and_names_it(tmp_path: Path) -> None:
    golden = GOLDEN["options"]["reward_std"]
    keys = golden["keys"] | {"setting": golden["setting"], "reward_std_gradient": "published"}
    with pytest.raises(RuntimeError, match=r"epoch 70, step 0: 'reward' = nan; lower 'lr'"):
        make(tmp_path, epochs=200, **keys)
    assert [row["epoch"] for row in rows(tmp_path)][-1] == 60


def plan_of(**keys: Any) -> dict[str, Any]:
    return {"experiment": "log_linear", "configurations": [{"base_config": {"epochs": 3, **keys}}]}


def setting_without(*keys: str, **changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**STALL, **changes}.items() if key not in keys}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"setting": setting_without("initial_policy_weights")},
         "'setting.initial_policy_probabilities': is missing, and so is 'initial_policy_weights'"),
        ({"setting": setting_without(rewards=[[1, 2]])},
         "'setting.rewards': must be 1 x 5 (inputs x outputs)"),
        ({"setting": setting_without(output_features=[[[1, 2], [1]]])},
         "'setting.output_features': must be inputs x outputs x features"),
        ({"setting": setting_without(initial_policy_probabilities=[[0.1, 0.1, 0.1, 0.1, 0.1]])},
         "'setting.initial_policy_probabilities[0]' = [0.1, 0.1, 0.1, 0.1, 0.1]: sums to 0.5"),
        ({"setting": setting_without(
            output_features=[[[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]]],
            initial_policy_weights=[[0, 0]],
            initial_policy_probabilities=[[0.1, 0.3, 0.2, 0.2, 0.2]])},
         "'setting': no weights give these probabilities: with the closest ones, output"),
        ({"custom_setting_config_path": "gone.json"}, "no such file"),
        ({"custom_setting_config_path": "half.json"}, "'rewards'"),
        ({"load_kl_reg_ref_model_from_checkpoint": "half.json"}, "there is no penalty"),
        ({"load_model_from_checkpoint": "half.json"}, "not plain weights"),
        ({"score_metric_name": "rewards"}, "did you mean 'reward'?"),
    ],
)  # fmt: skip
def test_refusals(keys: dict[str, Any], message: str, workplace: Workplace) -> None:
    (workplace.path / "half.json").write_text(json.dumps(setting_without("rewards")))
    before = workplace.files()
    outcome = workplace.run_plan(workplace.write_plan(**plan_of(**keys)))
    assert outcome.status == 2
    assert message in outcome.err
    assert workplace.files() == before


def test_another_run_gives_the_start_and_the_reference(workplace: Workplace) -> None:
    first = {"id": "first", "base_config": {"experiment_name": "first"}}
    second = {
        "base_config": {
            "experiment_name": "second",
            "load_model_from_checkpoint": "@first.checkpoint",
            "load_kl_reg_ref_model_from_checkpoint": "@first.checkpoint",
            "kl_regularization_coeff": 0.5,
        }
    }
    plan = workplace.write_plan(
        experiment="log_linear",
        base_config={"setting": STALL, "epochs": 40},
        configurations=[first, second],
    )
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0, outcome.err
    by_name = {folder.path.name.partition("-")[0]: folder.path for folder in workplace.folders()}
    start = rows(by_name["second"])[0]
    assert start["expected reward"] > rows(by_name["first"])[-1]["expected reward"] > 0.5
    assert start["kl reg"] == pytest.approx(0, abs=1e-6)


def test_settings_that_are_made_up_with_several_sizes_take_checkpoints_of_their_own(
    workplace: Workplace,
) -> None:
    sizes = (4, 6)
    for size in sizes:
        keys = {"setting": None, "num_outputs": size, "feature_dim": size, "epochs": 2}
        make(workplace.path / str(size), **keys)
    starts = [
        {"base_config": {
            "experiment_name": f"of {size}", "num_outputs": size, "feature_dim": size, "epochs": 2,
            "load_model_from_checkpoint": str(workplace.path / f"{size}/checkpoints/last.pt"),
        }}
        for size in sizes
    ]  # fmt: skip
    plan = workplace.write_plan(experiment="log_linear", configurations=starts)
    outcome = workplace.run_plan(plan)
    assert outcome.status == 0, outcome.err
