"""Several processes share a run: results are those of one, and its end is the run's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from common import distributed
from common.run.folder import RunFolder, read_json_lines
from grue.algorithms.reinforce import Reinforce
from tests.conftest import Workplace, without_seconds
from tests.grue.conftest import encoder_decoder, save_model, write
from tests.grue.parts import EVEN, ONE_RANK
from tests.grue.test_ppo_human_preferences import configuration as human_preferences
from tests.grue.test_reinforcement import MASKED, reinforcement
from tests.grue.test_reward_model import configuration, reference, write_data

SHORT = {"train_evaluation__n_iters": 3, "train_evaluation__eval_every": 2}
VOWELS = "custom:tests.grue.test_token_rewards:vowels"
RMSPROP_LIKE = {"alg__policy__args__optimizer_kwargs": {"eps": 1e-3}}
"""So that a gradient of nearly nothing is not made a whole step."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Path:
    return without_dropout(save_model(tmp_path_factory.mktemp("model"), tokenizer))


def without_dropout(folder: Path) -> Path:
    """Its noise depends on which process computes what."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    zeros = {key: 0.0 for key in config if "drop" in key}
    path.write_text(json.dumps(config | zeros))
    return folder


def supervised(model: Path, kind: str = "causal") -> dict[str, Any]:
    """Batches of 6 of 40 rows: the last one is smaller, and leaves parts of different sizes."""
    keys = reinforcement(model)
    kept = {key: keys[key] for key in keys if not key.startswith(("alg", "env", "reward_fn"))}
    del kept["train_evaluation.n_iters"], kept["train_evaluation.eval_every"]
    return kept | {
        "experiment_name": f"supervised_{kind}",
        "alg.id": "supervised",
        "alg.model_type": kind,
        "alg.model_name": str(model),
        "alg.generation_kwargs": {"do_sample": True, "max_new_tokens": 6},
        "alg.training_args": {
            "per_device_train_batch_size": 6, "gradient_accumulation_steps": 2,
            "num_train_epochs": 2, "learning_rate": 0.003, "logging_steps": 2, "adam_epsilon": 1e-3,
        },
    }  # fmt: skip


def reward_model(model: Path, data: Path) -> dict[str, Any]:
    keys = configuration(model, data, "best_of_n", normalize=reference(model))
    args = {"num_train_epochs": 2, "logging_steps": 2, "adam_epsilon": 1e-3}
    keys["alg"]["training_args"] |= args
    return {"experiment": "reward_model", "experiment_name": "reward_model", **keys}


def assert_close(one: RunFolder, two: RunFolder) -> None:
    """The metrics, within 1e-4 of themselves, and the weights, within 1e-5."""
    rows, others = without_seconds(one), without_seconds(two)
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=1e-4, abs=1e-4)
    weights, other_weights = (load_file(f.path / "model/model.safetensors") for f in (one, two))
    for name, weight in weights.items():
        torch.testing.assert_close(weight, other_weights[name], rtol=0, atol=1e-5, msg=name)


def run_with_both(workplace: Workplace, *runs: dict[str, Any]) -> None:
    """Makes the runs with one and with two processes, and compares them."""
    for count in (1, 2):
        plan = write(workplace, *runs, gpus_per_run=count)
        assert workplace.run_plan(plan.rename(workplace.path / f"with_{count}.json")).status == 0
    folders = zip(workplace.folders("with_1"), workplace.folders("with_2"), strict=True)
    for one, two in folders:
        assert one.path.name == two.path.name
        assert "2 processes" in two.read_status()["device"]
        assert_close(one, two)


@pytest.mark.slow
def test_reinforcement_by_two_processes_equals_that_by_one(
    workplace: Workplace, model: Path
) -> None:
    noise = {"alg__args__measure_gradient_noise": True, "alg__kl_div__target_kl": 0.1}
    runs = [
        reinforcement(model, "ppo", alg__args__micro_batch_size=3, **noise, **SHORT,
                      **RMSPROP_LIKE),
        reinforcement(model, "ppo", experiment_name="of_tokens", alg__compatibility=["rl4lms"],
                      alg__args__target_kl=0.05, **SHORT, **RMSPROP_LIKE),
        reinforcement(model, "nlpo", **MASKED, **SHORT, **RMSPROP_LIKE),
        reinforcement(model, "a2c", alg__args__n_steps=16, alg__args__rms_prop_eps=1e-3,
                      alg__args__micro_batch_size=5, **SHORT),
        reinforcement(model, "reinforce", env__n_envs=5, **SHORT,
                      **RMSPROP_LIKE),
        *(reinforcement(model, name, env__n_envs=5, alg__args__num_samples_per_input=3,
                        alg__args__num_minibatches=1, alg__args__micro_batch_size=4,
                        alg__args__sft_coeff=0.5, alg__args__sft_batch_size=5, **SHORT,
                        **RMSPROP_LIKE) for name in ("grpo", "reinforce_plus_plus")),
        # On the second rank of a step with one output there is none.
        reinforcement(model, "rejection_sampling", env__n_envs=5,
                      alg__args__num_samples_per_input=3, alg__args__num_minibatches=4,
                      alg__args__micro_batch_size=2, **SHORT, **RMSPROP_LIKE),
        reinforcement(model, "ppo", experiment_name="token_rewards", reward_fn__id=VOWELS,
                      **SHORT, **RMSPROP_LIKE),
        *(reinforcement(model, "dr_grpo", experiment_name=name, env__n_envs=5,
                        alg__args__num_samples_per_input=3, alg__args__zero_std_groups=name,
                        alg__args__solved_above=0.5, reward_fn__id=EVEN, **SHORT, **RMSPROP_LIKE)
          for name in ("draw_more", "hint")),
        human_preferences(model, **SHORT, **RMSPROP_LIKE),
    ]  # fmt: skip
    run_with_both(workplace, *runs)


@pytest.mark.slow
def test_training_by_two_processes_equals_that_by_one(
    workplace: Workplace, model: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    t5 = workplace.path / "t5"
    encoder_decoder("t5", len(tokenizer)).save_pretrained(t5)
    tokenizer.save_pretrained(t5)
    data = write_data(workplace.path / "data", 4, train=61)
    without_dropout(t5)
    run_with_both(workplace, supervised(model), supervised(t5, "seq2seq"),
                  reward_model(model, data))  # fmt: skip
    one, two = (
        RunFolder(next((workplace.path / f"outputs/exps/with_{n}").glob("reward_model-*")))
        for n in (1, 2)
    )
    scales, others = (json.loads(f.summary.read_text())["normalization"] for f in (one, two))
    for moment in ("before", "after"):
        assert scales[moment] == pytest.approx(others[moment], rel=1e-4)


def _words(process: psutil.Process) -> list[str]:
    """The command of a process; nothing of one that has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def left_over() -> list[list[str]]:
    """Commands of what runs have left: not Python's helpers, nor the tests' own servers."""
    children = psutil.Process().children()
    guards = [child for child in children if "fork_server_guard" in " ".join(_words(child))]
    workers = [worker for guard in guards for server in guard.children()
               for worker in server.children()]  # fmt: skip
    others = [child for child in children if child not in guards]
    commands = [words for process in workers + others if (words := _words(process))]
    helpers = ("multiprocessing.", "tests.programs")
    return [words for words in commands if not any(name in " ".join(words) for name in helpers)]


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "how"), [(0, "SIGKILL"), (1, "SIGINT")])
def test_a_run_that_loses_a_process_goes_on_with_equal_results(
    workplace: Workplace, model: Path, rank: int, how: str
) -> None:
    runs = []
    for name in ("stopped", "whole"):
        args = {"marker": str(workplace.path / name), "rank": rank, "how": how, "calls": 2}
        runs.append(
            reinforcement(model, "reinforce", experiment_name=name, train_evaluation__save_every=1,
                          train_evaluation__n_iters=8, train_evaluation__eval_every=8,
                          reward_fn={"id": ONE_RANK, "args": args})
        )  # fmt: skip
        del runs[-1]["reward_fn.id"]
    (workplace.path / "whole").touch()  # this one is never stopped
    plan = write(workplace, *runs, gpus_per_run=2)
    outcome = workplace.run_plan(plan)
    if how == "SIGINT":
        assert outcome.status == 130
        outcome = workplace.run_plan(plan)
    else:
        assert f"rank {rank}: its worker process was ended by SIGKILL" in outcome.err
    assert outcome.status == 0
    stopped, whole = workplace.folders()
    assert stopped.read_status()["attempt"] == 2
    assert without_seconds(stopped) == without_seconds(whole)
    assert not left_over()


def test_an_error_of_one_process_fails_the_run(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.runner.scheduling.worker_group._GRACE", 300.0)
    args = {"marker": str(workplace.path / "marker"), "how": "error"}
    run = reinforcement(model, "reinforce", **SHORT)
    del run["reward_fn.id"]
    run["reward_fn"] = {"id": ONE_RANK, "args": args}
    assert workplace.run_plan(write(workplace, run, gpus_per_run=2)).status == 1
    (folder,) = workplace.folders()
    assert "as the plan says" in folder.read_status()["reason"]
    assert "ZeroDivisionError" in folder.read_status()["reason"]
    failed = read_json_lines(folder.path / "failed_rollout.jsonl")
    assert len(failed) == 8 * 4
    assert not left_over()


class FailsOnOne(Reinforce):
    """Raises on the second rank, for which the others wait."""

    def update(self, *args: Any) -> dict[str, float]:
        if distributed.rank() == 1:
            raise ZeroDivisionError("as the plan says")
        return super().update(*args)


class Alone(Reinforce):
    supports_data_parallel = False


def custom(model: Path, name: str) -> dict[str, Any]:
    return reinforcement(model, "reinforce", **SHORT) | {
        "alg.id": f"custom:tests.grue.test_ranks:{name}"
    }


@pytest.mark.slow
def test_an_error_that_the_others_cannot_know_of_fails_the_run_too(
    workplace: Workplace, model: Path
) -> None:
    plan = write(workplace, custom(model, "FailsOnOne"), gpus_per_run=2)
    assert workplace.run_plan(plan).status == 1
    status = workplace.folders()[0].read_status()
    assert status["status"] == "failed"
    assert status["reason"].startswith("rank 1: ZeroDivisionError: as the plan says (")
    assert "raise ZeroDivisionError" in status["traceback"]
    assert not left_over()


def test_an_algorithm_that_does_not_share_its_work_is_refused(
    workplace: Workplace, model: Path
) -> None:
    outcome = workplace.run_plan(write(workplace, custom(model, "Alone"), gpus_per_run=2))
    assert outcome.status == 2
    assert "runs in one process; leave it out of this run's configuration" in outcome.err


@pytest.mark.parametrize(
    ("algorithm", "keys", "message"),
    [
        ("trpo", {}, "'gpus_per_run' = 2: 'alg.id' = 'trpo' runs in one process"),
        ("ppo", {"alg__args__batch_size": 1}, "'alg.args.batch_size' = 1: is less than"),
    ],
)
def test_what_several_processes_cannot_do_is_refused(
    workplace: Workplace, model: Path, algorithm: str, keys: dict[str, Any], message: str
) -> None:
    plan = write(workplace, reinforcement(model, algorithm, **keys), gpus_per_run=2)
    outcome = workplace.run_plan(plan)
    assert outcome.status == 2
    assert message in outcome.err


def test_training_that_several_processes_cannot_share_is_refused(
    workplace: Workplace, model: Path
) -> None:
    small = supervised(model)
    small["alg.training_args"] = {"per_device_train_batch_size": 1}
    broadcast = {"id": "pairwise", "margin": "broadcast"}
    coupled = {"experiment": "reward_model", **configuration(model, model, "pairwise")}
    coupled["alg"]["loss"] = broadcast
    outcome = workplace.run_plan(write(workplace, small, coupled, gpus_per_run=2))
    assert outcome.status == 2
    assert "'alg.training_args.per_device_train_batch_size' = 1: is the batch of all" in outcome.err
    assert "'alg.loss.margin' = 'broadcast': couples all pairs of a batch" in outcome.err
