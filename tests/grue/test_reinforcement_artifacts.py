"""What reinforcement finetuning leaves: the published files, checkpoints, a model for stages."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from common.run.folder import RunFolder, read_json_lines, write_json
from common.training import checkpoint
from grue.experiments.finetune import published_artifacts
from grue.experiments.finetune.reinforcement import ReinforcementRun
from grue.models.loading import recompute_activations
from grue.policies.actor_critic import ActorCritic
from grue.policies.policy import Policy
from tests.conftest import Workplace
from tests.gpu_generators import GpuGenerators
from tests.grue.conftest import causal_model, save_model, write
from tests.grue.parts import LETTERS
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import MASKED, reinforcement, rows_of

ROLLOUT_KEYS = {
    f"rollout_info/{name}{end}"
    for name in ("ep_rew", "ep_lens", "ep_kl_rew", "kl_div_mean", "log_prob", "ref_log_prob",
                 "values")
    for end in ("", "_std")
} | {"rollout_info/kl_coeff"}  # fmt: skip
TRAINING_KEYS = {"ppo/entropy_loss", "ppo/policy_gradient_loss", "ppo/value_loss",
                 "ppo/approx_kl", "ppo/explained_variance"}  # fmt: skip
"""What sections 4.5 and 5.3 of the description of the published program list."""


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def lines_of(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    return read_json_lines(folder.path / name)


def test_stages_hand_on_their_models_and_a_run_leaves_the_published_files(
    workplace: Workplace, model: Path
) -> None:
    sft = finetuning(model, alg__training_args__max_steps=2, no_eval_on_train_set=True)
    rft = reinforcement(model, train_evaluation__n_iters=3, train_evaluation__eval_every=2,
                        alg__policy__args__model_name="@sft.model", log_entire_predictions=True,
                        tokenizer__model_name="@sft.model", no_eval_on_train_set=False)  # fmt: skip
    extract = extraction(model, alg__model_name="@rft.model", datapool__num_train_samples=4,
                         tokenizer__model_name="@rft.model")  # fmt: skip
    stages = [{**sft, "id": "sft"}, {**rft, "id": "rft"}, extract]
    assert workplace.run_plan(write(workplace, *stages)).status == 0
    folders = {folder.path.name.rsplit("-", 1)[0]: folder for folder in workplace.folders()}
    folder = folders["ppo"]

    # 1 and 2: rollouts and training, a line per iteration.
    rollouts, training = (
        lines_of(folder, "rollout_info.jsonl"),
        lines_of(folder, "training_info.jsonl"),
    )
    assert len(rollouts) == len(training) == 3
    rows = [row for row in rows_of(folder) if "ppo/value_loss" in row]
    for row, rollout, update in zip(rows, rollouts, training, strict=True):
        assert set(rollout) >= ROLLOUT_KEYS and set(update) >= TRAINING_KEYS
        assert not {"step", "epoch", "ppo/kl_loss"} & set(update)  # the KL is in the reward
        assert rollout["rollout_info/ep_rew"] == row["rollout_info/ep_rew"]
        assert not any(name.startswith("rollout_info/") for name in update)
    # 3 and 4: metrics per split, labelled by the iteration before.
    epochs = {"val": [0, 1, 2], "test": [0, 2], "train": [0, 2]}
    for split, expected in epochs.items():
        found = lines_of(folder, f"{split}_split_metrics.jsonl")
        assert [line["epoch"] for line in found] == expected
        assert all(list(line["metrics"]) == ["lexical/overlap"] for line in found)
    last = lines_of(folder, "val_split_metrics.jsonl")[-1]["metrics"]["lexical/overlap"]
    assert last == rows_of(folder)[-1]["val/lexical/overlap"]
    # 5 and 6: predictions at the same moments.
    for split, labels in epochs.items():
        for label in labels:
            path = folder.path / f"epoch_{label}_{split}_split_predictions.json"
            records = json.loads(path.read_text())
            assert list(records[0])[:5] == ["split_name", "sample_id", "prompt_text",
                                            "generated_text", "ref_text"]  # fmt: skip
            assert isinstance(records[0]["lexical/overlap"], float)
    # 7 and 8: the model with its tokenizer, and the configuration.
    AutoTokenizer.from_pretrained(folder.path / "model")
    saved = AutoModelForCausalLM.from_pretrained(folder.path / "model").state_dict()
    before = AutoModelForCausalLM.from_pretrained(folders["sft"].path / "model").state_dict()
    assert any(not torch.equal(saved[name], before[name]) for name in saved)
    config = json.loads(folder.config.read_text())
    assert config["alg"]["id"] == "ppo" and config["reward_fn"]["id"] == LETTERS

    # A supervised run has those of its splits alone, labelled by epochs.
    (line, *_) = lines_of(folders["sft"], "val_split_metrics.jsonl")
    assert line["epoch"] == 0.0
    names = {path.name for path in folders["sft"].path.glob("*.jsonl")}
    assert names == {"metrics.jsonl", "val_split_metrics.jsonl", "test_split_metrics.jsonl"}


@pytest.mark.parametrize(("algorithm", "keys"), [("a2c", {}), ("nlpo", MASKED)])
def test_algorithms_have_own_names_and_the_published_ones_in_the_published_file(
    workplace: Workplace, model: Path, algorithm: str, keys: dict[str, Any]
) -> None:
    keys = {**keys, "alg__args__n_steps": 6, "train_evaluation__n_iters": 1}
    run = reinforcement(model, algorithm, **keys)
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    (row,) = [row for row in rows_of(folder) if "rollout_info/ep_rew" in row]
    (line,) = lines_of(folder, "training_info.jsonl")
    for name in ("policy_gradient_loss", "value_loss", "entropy_loss", "grad_norm"):
        assert row[f"{algorithm}/{name}"] == line[f"ppo/{name}"]
    assert not any(name.startswith("ppo/") for name in row)
    assert not any(name.startswith(f"{algorithm}/") for name in line)


def test_an_evaluation_in_between_is_labelled_by_its_iteration_or_epoch() -> None:
    rows = [{"step": 4, "epoch": 0.5, "val/lexical/meteor": 0.25, "reward_std/frac_zero": 0.1}]
    for by_iteration, epoch in ((True, 3), (False, 0.5)):
        found = published_artifacts.lines(rows, by_iteration=by_iteration)
        line = {"epoch": epoch, "metrics": {"lexical/meteor": 0.25}}
        assert {name: of_file for name, of_file in found.items() if of_file} == {
            "val_split_metrics.jsonl": [line]
        }


def test_checkpoints_come_every_so_often_and_the_newest_are_kept(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[dict[str, Any]] = []
    save_last = checkpoint.save_last

    def noted(folder: Path, state: dict[str, Any]) -> None:
        saved.append(state)
        save_last(folder, state)

    monkeypatch.setattr(checkpoint, "save_last", noted)
    monkeypatch.setattr("common.training.checkpoint_interval.LEAST_MULTIPLE", 0.0)
    run = reinforcement(model, train_evaluation__n_iters=5, train_evaluation__save_every=2,
                        alg__kl_div__target_kl=0.1)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    assert [state["iteration"] for state in saved] == [2, 4, 5]
    assert sorted(path.name for path in folder.checkpoints.iterdir()) == ["last.pt", "previous.pt"]
    last = checkpoint.load_last(folder.checkpoints)
    assert last is not None and last["iteration"] == 5
    assert set(last) == {"iteration", "weights", "algorithm", "controller", "random", "rollouts"}
    assert {name.split(".")[0] for name in last["weights"]} == {"policy", "critic"}
    assert "critic.head.weight" in last["weights"]
    assert last["algorithm"]["optimizer"]["state"]
    assert last["controller"]["coefficient"] != 0.01
    assert {"python", "numpy", "torch"} <= set(last["random"])


def test_the_state_of_the_runs_own_gpu_is_saved_and_restored(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus = GpuGenerators(3, monkeypatch)
    state = gpus.generators[2].get_state()
    monkeypatch.setattr("common.training.stepwise_run.run_gpus", lambda ids: (2,))
    plan = write(workplace, reinforcement(model, train_evaluation__n_iters=1))
    assert workplace.run_plan(plan).status == 0
    (folder,) = workplace.folders()
    saved = checkpoint.load_last(folder.checkpoints)
    assert saved is not None
    assert torch.equal(saved["random"]["cuda"][0], state)
    gpus.draw(2)
    write_json(folder.status, {**folder.read_status(), "status": "interrupted"})
    assert workplace.run_plan(plan).status == 0
    assert torch.equal(gpus.generators[2].get_state(), state)
    assert gpus.asked == {2}


@pytest.mark.parametrize(("save_every", "seconds", "expected"), [
    # The first costs what one costs; then twenty times that passes, then it is one's turn.
    (1, 2.0, [1, 5, 9, 13, 14]),
    pytest.param(2, 2.0, [2, 6, 10, 14], marks=pytest.mark.slow),
    pytest.param(1, 0.0, list(range(1, 15)), marks=pytest.mark.slow),
    # After six iterations a minute is over; twenty times ten seconds are more.
    pytest.param(100, 2.0, [6, 12, 14], marks=pytest.mark.slow),
    (100, 10.0, [6, 14]),
])  # fmt: skip
def test_writing_checkpoints_takes_little_of_the_time(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch, save_every: int,
    seconds: float, expected: list[int],
) -> None:  # fmt: skip
    now, saved = [0.0], []
    iterate = ReinforcementRun.step

    def of_ten_seconds(self: ReinforcementRun) -> dict[str, float]:
        now[0] += 10.0
        return iterate(self)

    def save(folder: Path, state: dict[str, Any]) -> None:
        saved.append(state["iteration"])
        now[0] += seconds

    monkeypatch.setattr(
        "common.training.checkpoint_interval.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    monkeypatch.setattr(ReinforcementRun, "step", of_ten_seconds)
    monkeypatch.setattr(checkpoint, "save_last", save)
    run = reinforcement(model, "reinforce", env__n_envs=2, train_evaluation__n_iters=14,
                        train_evaluation__eval_every=14, train_evaluation__metrics=[],
                        train_evaluation__save_every=save_every)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    assert saved == expected


CHECKPOINTED = {"alg__policy__gradient_checkpointing": True}
ADAPTED = {"alg__policy__lora": {"r": 2}, "alg__policy__critic": "shared"}
HELD = {
    "plain": {},
    "recomputed": CHECKPOINTED,
    "bf16": {"alg__policy__dtype": "bfloat16"},
    "shared": {"alg__policy__critic": "shared"},
    "smaller": {"alg__policy__critic": "smaller"},
    "adapted": ADAPTED,
    "adapted_recomputed": {**ADAPTED, **CHECKPOINTED},
}


@pytest.fixture
def smaller(workplace: Workplace, tokenizer: PreTrainedTokenizerFast) -> None:
    """A critic's model of one layer, in the folder ``smaller``."""
    model = causal_model(len(tokenizer))
    model.transformer.h = model.transformer.h[:1]
    model.config.n_layer = 1
    model.save_pretrained(workplace.path / "smaller")


@pytest.mark.usefixtures("smaller")
def test_policies_are_held_as_configured(workplace: Workplace, model: Path) -> None:
    runs = [
        reinforcement(model, experiment_name=name, train_evaluation__n_iters=3,
                      alg__args__learning_rate=0.001, **changes)
        for name, changes in HELD.items()
    ]  # fmt: skip
    assert workplace.run_plan(write(workplace, *runs)).status == 0
    folders = {folder.path.name.rsplit("-", 1)[0]: folder for folder in workplace.folders()}
    for folder in folders.values():
        assert sum("ppo/grad_norm" in row for row in rows_of(folder)) == 3

    def trained(name: str) -> dict[str, torch.Tensor]:
        found = checkpoint.load_last(folders[name].checkpoints)
        assert found is not None
        weights: dict[str, torch.Tensor] = found["weights"]
        return weights

    def saved(name: str) -> dict[str, torch.Tensor]:
        model = AutoModelForCausalLM.from_pretrained(folders[name].path / "model")
        return dict(model.state_dict())

    # Recomputed activations spare memory and change nothing but by rounding.
    for one, other in (("plain", "recomputed"), ("adapted", "adapted_recomputed")):
        ours, theirs = trained(one), trained(other)
        assert ours.keys() == theirs.keys()
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-5)
    assert {tensor.dtype for tensor in saved("bf16").values()} == {torch.bfloat16}
    of_critic = {name: sum(key.startswith("critic.") for key in trained(name)) for name in folders}
    assert of_critic["shared"] == 1 < of_critic["smaller"] < of_critic["plain"]
    # Adapters alone are trained; the reference is the policy without them.
    assert all("lora_" in key for key in trained("adapted") if key.startswith("policy."))
    divergences = [row["rollout_info/kl_div_mean"] for row in rows_of(folders["adapted"])
                   if "rollout_info/kl_div_mean" in row]  # fmt: skip
    assert abs(divergences[0]) < 1e-6 < abs(divergences[-1])
    start = AutoModelForCausalLM.from_pretrained(model).state_dict()
    assert any(not torch.equal(start[name], found) for name, found in saved("adapted").items())


def test_activations_are_recomputed_in_updates_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    policy = Policy(causal_model(len(tokenizer)), tokenizer)
    recompute_activations(policy.model)
    actor_critic = ActorCritic(policy, None)
    passes: list[int] = []
    policy.model.transformer.h[0].mlp.register_forward_pre_hook(lambda *_: passes.append(1))

    def number_of_passes() -> int:
        passes.clear()
        actor_critic.evaluate(policy.sequences([[5, 6]], [[7, 8]])).logits.sum().backward()
        return len(passes)

    with actor_critic.updating():
        assert number_of_passes() == 2
    assert number_of_passes() == 1
