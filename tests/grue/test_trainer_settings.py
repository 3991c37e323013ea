"""What the transformers Trainer sets and saves beside training: precision, checkpoints, streams."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast, Trainer
from transformers.training_args import ParallelMode

from common.config.resolve import resolve
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.reward_model.config import RewardModelConfig
from grue.supervised import hf_trainer_keys as library_keys
from grue.supervised.arguments import training_arguments
from grue.supervised.trainer import _Watch
from tests.conftest import Workplace
from tests.grue import test_classifier, test_reward_model
from tests.grue.conftest import nested, save_model, write
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def test_tf32_is_the_runs_to_set(model: Path, tmp_path: Path) -> None:
    text = nested(finetuning(model))
    rewards = test_reward_model.configuration(model, tmp_path, "best_of_n")
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (FinetuneConfig, text),
        (RewardModelConfig, rewards),
        (ClassifierConfig, test_classifier.configuration(model)),
    ]
    for kind, keys in kinds:
        keys.pop("experiment", None)
        for tf32 in (None, False, True):
            keys["alg"]["training_args"]["tf32"] = tf32
            config, problems = resolve(kind, keys)
            assert config is not None, problems
            assert config.tf32 == bool(tf32)
    ppo = nested(reinforcement(model))
    del ppo["experiment"]
    config, problems = resolve(FinetuneConfig, ppo)
    assert config is not None, problems
    assert not config.tf32


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_goes_no_further_than_the_run(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch, tf32: bool
) -> None:
    assert (
        training_arguments({"tf32": tf32}, Path(), seed=0, device=torch.device("cpu")).tf32 is None
    )
    found = []
    step = _Watch.on_step_end

    def noted(self: _Watch, *args: Any, **options: Any) -> None:
        found.append(torch.backends.cudnn.allow_tf32)
        step(self, *args, **options)

    monkeypatch.setattr(_Watch, "on_step_end", noted)
    # Before the start it is refused for the CPU, which has no such products.
    monkeypatch.setattr(library_keys, "problems_of_training", lambda *_, **__: [])
    short = {"alg__training_args__max_steps": 1}
    first = finetuning(model, experiment_name="a", alg__training_args__tf32=tf32, **short)
    second = finetuning(model, experiment_name="b", **short)
    del second["alg.training_args.logging_steps"]  # not the same run as the first
    assert workplace.run_plan(write(workplace, first, second)).status == 0
    assert found == [tf32, False]


def test_checkpoints_take_little_of_the_time(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, saved = [0.0], []
    step = _Watch.on_step_end

    def of_ten_seconds(self: _Watch, args: Any, state: Any, *more: Any, **options: Any) -> None:
        now[0] += 10.0
        step(self, args, state, *more, **options)

    def save(self: Trainer, *_: Any) -> None:
        saved.append(self.state.global_step)
        now[0] += 10.0

    monkeypatch.setattr(
        "common.training.checkpoint_interval.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    monkeypatch.setattr(_Watch, "on_step_end", of_ten_seconds)
    monkeypatch.setattr(Trainer, "_save_checkpoint", save)
    run = finetuning(model, no_eval_on_train_set=True, alg__training_args__max_steps=30,
                     alg__training_args__logging_steps=100)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    # After a minute; then after twenty times ten seconds; and the library's own, at the end.
    assert saved == [6, 26, 30]


def states(*, with_gpu: bool) -> dict[str, Any]:
    """What the Trainer saves of the generators."""
    found = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "cpu": torch.get_rng_state(),
    }
    return found | ({"cuda": torch.Generator().manual_seed(7).get_state()} if with_gpu else {})


@pytest.mark.parametrize("then", [False, True])
@pytest.mark.parametrize("now", [False, True])
def test_the_trainers_streams_go_from_the_cpu_to_a_gpu_and_back(
    then: bool, now: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    torch.save(states(with_gpu=then), tmp_path / "rng_state.pth")
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    restored = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: now)
    monkeypatch.setattr(torch.cuda.random, "set_rng_state", restored.append)
    arguments = SimpleNamespace(world_size=1, parallel_mode=ParallelMode.NOT_PARALLEL)
    Trainer._load_rng_state(SimpleNamespace(args=arguments), str(tmp_path))
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert len(restored) == (then and now)
