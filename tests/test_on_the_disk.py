"""What a status speaks of is on the disk before the status is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from common.config.run import RunConfig
from common.errors import Problem
from common.experiment import Context, Experiment
from tests.benchmarks.many_runs import plan_of
from tests.conftest import PROJECT, TINY_DIGITS, TOY, Workplace
from tests.system_calls import Disk, calls, traced
from tests.tools import needs_program

OUTPUTS = {"max_new_tokens": 4, "do_sample": True, "top_k": 0}
TRAINING = {"per_device_train_batch_size": 8, "max_steps": 2, "logging_steps": 1, "save_steps": 1}
STORIES = {"id": "word_game", "args": {"kinds": ["story"], "num_samples": 60}}
CONTROLLED = {
    **TINY_DIGITS, "save_checkpoints": True, "num_checkpoints": 1
}  # fmt: skip


def run(config: RunConfig, context: Context) -> None:
    """Leaves a file in a way of its own."""
    folder = context.folder.path / "own"
    folder.mkdir()
    (folder / "numbers.txt").write_text("1 2 3")


def preflight(runs: object) -> list[Problem]:
    return []


OWN = Experiment(config=RunConfig, run=f"{__name__}:run", preflight=f"{__name__}:preflight")


def text_run(experiment: str, name: str, model: str, alg: Any, **keys: Any) -> dict[str, Any]:
    base = {
        "experiment_name": name,
        "random_seed": 0,
        "tokenizer": {"model_name": model},
        "alg": alg,
        **keys,
    }
    return {"id": name, "experiment": experiment, "base_config": base}


def every_kind_of_run() -> list[dict[str, Any]]:
    """Configurations of each experiment, and of runs that are made together."""
    new = {
        "experiment_name": "new", "datapools": [STORIES], "vocab_size": 280, "max_length": 32,
        "architecture": {"n_layer": 1, "n_embd": 16, "n_head": 1},
    }  # fmt: skip
    supervised = {
        "id": "supervised", "model_type": "causal", "model_name": "@new.model",
        "policy": {"init": "random"}, "training_args": TRAINING,
    }  # fmt: skip
    policy = {
        "id": "causal_lm_actor_critic_policy",
        "args": {"model_name": "@pretrain.model", "generation_kwargs": OUTPUTS},
    }
    ppo = {"id": "ppo", "args": {"n_steps": 4, "batch_size": 8, "n_epochs": 1}, "policy": policy,
           "kl_div": {"coeff": 0.1}}  # fmt: skip
    samples = {
        "model_type": "causal",
        "model_name": "@pretrain.model",
        "generation_kwargs": OUTPUTS,
    }
    judge = {"model_name": "@pretrain.model", "training_args": TRAINING}
    letters = [{"id": "matches", "args": {"pattern": "a"}}]
    drawn = {"eval_batch_size": 20, "num_samples_per_input": 4, "metrics": letters}
    few = {"eval_batch_size": 20, "generation_kwargs": OUTPUTS}
    ranked = {"path": "@labels.samples", "metric": "lexical/matches", "held_out": 0.2}
    return [
        {"experiment": f"custom:{__name__}:OWN", "base_config": {"experiment_name": "own"}},
        {"experiment": TOY, "base_config": {"experiment_name": "toy", "epochs": 2}},
        {"base_config": {**CONTROLLED, "experiment_name": "controlled"}, "seeds": [0, 1]},
        {"experiment": "linear_theory", "base_config": {"experiment_name": "linear"}},
        {"id": "new", "experiment": "grue_new_model", "base_config": new},
        text_run("grue_finetune", "pretrain", "@new.model", supervised, datapool=STORIES,
                 train_evaluation=few),
        text_run("grue_extract", "labels", "@pretrain.model", samples, datapool=STORIES,
                 published_format=True, evaluation=drawn),
        text_run("reward_model", "judge", "@pretrain.model", {**judge, "loss": {"id": "best_of_n"}},
                 datapool={"id": "ranked_samples", "args": ranked}),
        text_run("grue_classifier", "classifier", "@pretrain.model", judge,
                 datapool={"id": "custom:tests.grue.test_classifier:Feelings"}),
        text_run("grue_finetune", "ppo", "@pretrain.model", ppo, datapool=STORIES,
                 reward_fn={"id": "matches", "args": {"pattern": "a"}},
                 env={"n_envs": 4, "args": {"max_prompt_length": 8, "max_episode_length": 4,
                                            "terminate_on_eos": True}},
                 train_evaluation={**few, "n_iters": 2, "eval_every": 1}),
    ]  # fmt: skip


@pytest.mark.slow
@needs_program("strace")
def test_whatever_a_run_leaves_is_on_the_disk_before_it_counts_as_done(
    workplace: Workplace,
) -> None:
    plan = workplace.write_plan(
        configurations=every_kind_of_run(), vectorize=True, multiprocess=True, figures=[]
    )
    log = calls_of(workplace, plan)
    runs = {str(folder.path.absolute()) for folder in workplace.folders()}
    assert len(runs) == 11
    assert ended_with_all_on_the_disk(log, workplace.path) == runs


def calls_of(workplace: Workplace, plan: Path) -> Path:
    """Makes a plan; returns the log of its system calls."""
    log = workplace.path / "calls"
    done = subprocess.run(
        [*traced(log), sys.executable, PROJECT / "run_plan.py", "--plan_config_path", plan],
        cwd=workplace.path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return log


@pytest.mark.slow
@needs_program("strace")
@pytest.mark.parametrize("scheduling", [{}, {"multiprocess": True, "num_parallel": 2}])
def test_a_run_syncs_at_most_ten_times_in_whatever_process(
    workplace: Workplace, scheduling: dict[str, Any]
) -> None:
    count = 20
    log = calls_of(workplace, workplace.write_plan(**plan_of(count), **scheduling))
    runs = tuple(f"{folder.path.absolute()}/" for folder in workplace.folders())
    synced = (call.paths[0] for call in calls(log, workplace.path) if "sync" in call.name)
    num_syncs = sum(f"{path}/".startswith(runs) for path in synced)
    assert 5 * count <= num_syncs <= 10 * count


def ended_with_all_on_the_disk(log: Path, folder: Path) -> set[str]:
    """The folders of the runs that were done; looks at each of them in that moment.

    Rows of metrics that a checkpoint counts on, and what a folder holds when it gets its name, are
    looked at likewise.
    """
    disk, ended, measured = Disk(), set[str](), set[str]()
    for call in calls(log, folder):
        place, _, name = call.paths[0].rpartition("/") if call.paths else ("", "", "")
        if name.startswith(".status.json") and call.name.startswith("open"):
            before = disk.below(place)
        elif name.startswith(".status.json") and '\\"status\\": \\"done\\"' in call.arguments:
            assert before == set(), "not on the disk when the run was done"
            ended.add(place)
        elif name == "metrics.jsonl" and call.name == "write":
            measured.add(place)
        elif call.name.startswith("rename") and Path(call.paths[1]).is_relative_to(folder):
            old, new = call.paths
            if ".tmp/" not in new:  # else it is a library's, and not ready
                assert disk.below(old) == set(), "not on the disk when it got its name"
            if Path(new).name == "last.pt" and str(Path(new).parents[1]) in measured:
                assert str(Path(new).parents[1] / "metrics.jsonl") not in disk.unsynced
        disk.take(call)
    assert measured
    return ended


def test_syncing_does_not_grow_with_the_epochs(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr("os.fsync", fsync)
    options = {"epochs": [3, 30], "random_seed": [1]}
    plan = workplace.write_plan(experiment=TOY, configurations=[{"options": options}])
    assert workplace.run_plan(plan).status == 0
    folders = [str(folder.path.absolute()) for folder in workplace.folders()]
    counts = [sum(path.startswith(f"{folder}/") for path in synced) for folder in folders]
    assert counts[0] == counts[1] < 12
