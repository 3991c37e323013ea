"""Plans and setting files of the published program, as it has them: loaded and run unchanged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from common.experiment import EXPERIMENTS
from common.plan.load import load_plan
from common.run.folder import read_json
from tests.conftest import PROJECT, Workplace

OURS = PROJECT / "experiment_plans/imperfect_rewards"
_KEYS: dict[str, Any] = {
    "random_seed": -1, "gpu_ids": [], "trainer_checkpoint": "", "epochs": 50000,
    "validate_every": 1000, "disable_console_log": False, "save_logs": True,
    "train_batch_log_interval": -1, "epoch_log_interval": 1000, "save_metric_plots": True,
    "save_every_num_val": 1, "use_tensorboard": False, "use_wandb": False,
    "wandb_project_name": "loglin_pg", "wandb_entity_name": "", "wandb_resume_id": "",
    "wandb_track_model": None, "wandb_exclude_files": ["plots/**"],
    "score_metric_name": "reward", "is_train_metric": True, "score_largest": False,
    "return_best_score": False, "save_checkpoints": True, "num_checkpoints": 1,
    "save_checkpoints_by_score": False, "early_stop": False, "early_stop_min_delta": 0,
    "early_stop_patience": 0, "early_stop_cooldown": 0, "early_stop_restore_best_weights": False,
    "num_outputs": 10, "feature_dim": 10, "features_type": "id", "data_rnd_seed": -1,
    "load_model_from_checkpoint": "", "load_dataset_to_gpu": True, "init_type": "zero",
    "init_std": 0.1, "init_rnd_seed": -1, "reward_type": "rnd", "normalize_by_reward_std": False,
    "optimizer": "sgd", "lr": 0.1, "kl_regularization_coeff": 0, "kl_reg_ref_unif": False,
    "use_forward_kl_reg": False, "logits_temperature": 1, "track_output_probs_thresh": 15,
}  # fmt: skip
_ENDING = "_{epochs}_kl_{kl_regularization_coeff}_{optimizer}_lr_{lr}"
_FEATURES = {
    "orth_inprod_with_gt": "features_sim_orth_with_red_herring_w_gt_config",
    "neg_inprod_with_gt": "features_sim_neg_inner_product_with_red_herring_w_gt_config",
    "pos_with_gt": "features_sim_pos_inner_product_with_red_herring_w_gt_config",
}
_STALL = {
    f"expec_grad_{{use_expected_reinforce_updates}}_gt_not_best_exps_with_{short}_ystar_{start}":
        f"gt_reward_may_not_be_best_train_w_{name}_config{ending}"
    for start, ending in (("0-05", ""), ("0-15", "_0-15_ystar_prob"), ("0-1", "_0-1_ystar_prob"))
    for short, name in (("gt", "gt"), ("rm", "proxy"))
}  # fmt: skip
PLANS: dict[str, tuple[dict[str, str], bool, str]] = {
    "features_sim": (_FEATURES, True, "outputs/pg_features_sim"),
    "loglin_pg_gt_reward_not_best": (_STALL, True, "outputs/pg_loglin_ystar_prob"),
    "loglin_pg_gt_reward_not_best_reinforce": (_STALL, False, "outputs/pg_loglin_ystar_prob"),
}


def published(workplace: Workplace, name: str) -> Path:
    """Writes a published plan and its setting files where the published program has them."""
    settings = workplace.path / "controlled_loglin_pg/configs"
    shutil.copytree(OURS / "settings", settings, dirs_exist_ok=True)
    runs, exact, outputs = PLANS[name]
    configurations = [
        {
            "base_config": _KEYS | {
                "experiment_name": run + _ENDING,
                "outputs_dir": outputs,
                "use_expected_reinforce_updates": exact,
                "custom_setting_config_path": f"controlled_loglin_pg/configs/{setting}.json",
            },
            "options": {},
        }
        for run, setting in runs.items()
    ]  # fmt: skip
    document = {
        "name": "Log-linear policy gradient ", "description": "", "skip": 0, "repetitions": 1,
        "largest": False, "multiprocess": False, "num_parallel": 1, "gpu_ids_pool": [],
        "configurations": configurations,
    }  # fmt: skip
    path = workplace.path / f"{name}_experiments_plan.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("name", PLANS)
def test_published_plans_load_and_have_the_published_names(name: str, workplace: Workplace) -> None:
    plan = load_plan(published(workplace, name), EXPERIMENTS)
    runs, exact, _ = PLANS[name]
    ending = "_50000_kl_0_sgd_lr_0-1"
    assert [run.name for run in plan.runs] == [
        key.replace("{use_expected_reinforce_updates}", str(exact)) + ending for key in runs
    ]
    assert {run.experiment for run in plan.runs} == {"log_linear"}


@pytest.mark.parametrize("name", PLANS)
def test_our_plans_are_the_published_ones_with_a_better_score(
    name: str, workplace: Workplace
) -> None:
    theirs = load_plan(published(workplace, name), EXPERIMENTS)
    (workplace.path / "experiment_plans").symlink_to(PROJECT / "experiment_plans")
    ours = load_plan(OURS / f"{name}.json", EXPERIMENTS)
    named = {run.name: run for run in ours.runs}
    assert [*named] == [run.name for run in theirs.runs]
    kept = {"score_largest", "random_seed", "data_rnd_seed", "init_rnd_seed", "save_checkpoints"}
    for run in theirs.runs:
        own = named[run.name].config
        settings = [read_json(Path(each.custom_setting_config_path)) for each in (own, run.config)]
        assert settings[0] == settings[1]
        ignored = kept | {"custom_setting_config_path"}
        identities = [each.identity() for each in (own, run.config)]
        differing = {key for key in identities[0] if identities[0][key] != identities[1][key]}
        assert differing <= ignored, differing
        assert own.score_largest


def test_a_published_plan_runs_and_says_that_its_score_is_the_wrong_way_round(
    workplace: Workplace,
) -> None:
    plan = published(workplace, "features_sim")
    outcome = workplace.run_plan(plan, "--set", "epochs=30", "--set", "save_metric_plots=false")
    assert outcome.status == 0, outcome.err
    assert "the lowest 'reward' counts as the best" in outcome.err
    folder = workplace.path / "outputs/pg_features_sim/features_sim_experiments_plan"
    names = sorted(path.parent.name.rpartition("-")[0] for path in folder.glob("*/status.json"))
    assert names == [f"{name}_30_kl_0_sgd_lr_0-1" for name in sorted(_FEATURES)]


def test_the_default_experiment_stays_where_it_knows_all_keys(workplace: Workplace) -> None:
    plan = workplace.write_plan(
        configurations=[{"base_config": {"epochs": 3, "dataset": "digits"}}]
    )
    assert {run.experiment for run in load_plan(plan, EXPERIMENTS).runs} == {"sft_vs_rft"}
