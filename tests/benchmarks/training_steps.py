"""Seconds per training step with all that is measured, against a plain step of the same model.

ResNet-18 on random images of 32 x 32, and BERT-mini on STS-B (from the folder that ``DATA_DIR``
names) with the share of padding. The plain step passes the same chunks, measures nothing and knows
nothing of changed labels.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.experiment import Context
from common.run.folder import RunFolder
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data.inputs import TextInputs
from sft_vs_rft.experiment import ControlledExperiment
from sft_vs_rft.objectives import expected_reward
from sft_vs_rft.trainer import Batch, ControlledTrainer

_ROUNDS = 12
_IMAGES = 256


def _trainer(folder: Path, **keys: Any) -> ControlledTrainer:
    config = ControlledConfig(
        opt_method="expected_reinforce", optimizer="adam", frac_samples_to_modify_labels=0.1,
        random_seed=0, samples_rnd_seed=0, init_rnd_seed=0, **keys,
    )  # fmt: skip
    experiment = ControlledExperiment(config, Context(RunFolder(folder), seed=0))
    data = experiment.make_data()
    trainer = experiment.make_trainer(data, experiment.make_model(data))
    assert isinstance(trainer, ControlledTrainer)
    return trainer


def _plain_step(trainer: ControlledTrainer, batch: Batch) -> None:
    """Ascent on the mean expected reward."""
    positions = torch.cat([batch.changed, batch.others])
    trainer.optimizer.zero_grad()
    for chunk in trainer.data.train_inputs.chunks(positions, len(positions)):
        logits = trainer.model(trainer.data.train_inputs.gather(chunk))
        value = expected_reward(logits, trainer.rewards[chunk]).sum() / len(positions)
        (-value).backward()
    trainer.optimizer.step()


def _seconds(step: Callable[[Batch], object], batch: Batch) -> float:
    started = time.perf_counter()
    step(batch)
    return time.perf_counter() - started


def _compare(name: str, ours: ControlledTrainer, plain: ControlledTrainer) -> None:
    """Both step through the same batches, taking turns."""
    times = []
    for _ in range(_ROUNDS):
        for batch in ours.batches():
            seconds = _seconds(lambda b: _plain_step(plain, b), batch)
            times.append((_seconds(ours.train_step, batch), seconds))
    own, other = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    threads = torch.get_num_threads()
    print(f"{name}, seconds per step ({threads} threads)")
    print(f"  with all that is measured {own:.4f}   plain {other:.4f}   ratio {ratio:.2f}")


def _resnet(folder: Path) -> None:
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = rng.standard_normal((_IMAGES, 3, 32, 32), dtype=np.float32)
        arrays[f"y_{part}"] = np.arange(_IMAGES) % 10
    np.savez(folder / "images.npz", **arrays)
    keys = {"dataset": "npz", "data_path": str(folder / "images.npz"), "model_type": "resnet18",
            "num_labels_per_sample": 5, "batch_size": _IMAGES, "num_train_samples": 0,
            "num_test_samples": 0}  # fmt: skip
    _compare(f"ResNet-18, batch of {_IMAGES}", *(_trainer(folder / part, **keys) for part in "ab"))


def _bert(folder: Path, data_dir: Path) -> None:
    keys = {"dataset": "stsb", "data_path": str(data_dir / "stsb"), "num_train_samples": 512,
            "model_type": f"bert:{data_dir / 'bert-mini'}", "num_labels_per_sample": 3,
            "batch_size": 256}  # fmt: skip
    ours, plain = (_trainer(folder / part, **keys) for part in "cd")
    _compare("BERT-mini on STS-B, batch of 256", ours, plain)
    print(f"  padding: {_padding(ours):.0%} of all tokens")


def _padding(trainer: ControlledTrainer) -> float:
    """Share of tokens that are padding, in the chunks of an epoch."""
    inputs = trainer.data.train_inputs
    assert isinstance(inputs, TextInputs)
    masks: list[Tensor] = [
        inputs.gather(chunk)["attention_mask"]
        for batch in trainer.batches()
        for part in (batch.changed, batch.others)
        for chunk in inputs.chunks(part, batch.num_inputs)
    ]
    return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)


def main() -> None:
    """Prints seconds per step, their ratio, and the share of padding."""
    with tempfile.TemporaryDirectory() as name:
        for part in "abcd":
            (Path(name) / part).mkdir()
        _resnet(Path(name))
        data_dir = os.environ.get("DATA_DIR")
        if data_dir is None:
            print("BERT-mini on STS-B: left out; set DATA_DIR to the folder that holds 'stsb'")
        else:
            _bert(Path(name), Path(data_dir))
