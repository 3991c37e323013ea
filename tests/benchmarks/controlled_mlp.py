"""Seconds per finetuning epoch of the MNIST-sized MLP, against a plain PyTorch loop.

1000 inputs of 784 numbers, layers 784-250-100-10, batch 512, Adam, 10 % changed labels, all
metrics on, validation on 1000 inputs every epoch. The plain loop trains and validates on resident
tensors and measures nothing but the validation's loss and accuracy. The data are random.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from common.experiment import Context
from common.run.folder import RunFolder
from common.training.trainer import Callback, Trainer
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.experiment import ControlledExperiment
from tests.fits import fit

_INPUTS, _BATCH, _LR = 1000, 512, 1e-4
_EPOCHS, _ROUNDS = 40, 15


def _write_data(path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = rng.standard_normal((_INPUTS, 784), dtype=np.float32)
        arrays[f"y_{part}"] = np.arange(_INPUTS) % 10
    np.savez(path, **arrays)


class _Plain:
    """Trains and validates on resident tensors."""

    def __init__(self, data: Path, *, fused: bool) -> None:
        arrays = {name: torch.from_numpy(array) for name, array in np.load(data).items()}
        self.train = arrays["x_train"], arrays["y_train"]
        self.test = arrays["x_test"], arrays["y_test"]
        self.model = nn.Sequential(
            nn.Linear(784, 250), nn.ReLU(), nn.Linear(250, 100), nn.ReLU(), nn.Linear(100, 10)
        )
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=_LR, **({"fused": True} if fused else {})
        )

    def seconds_per_epoch(self, epochs: int) -> float:
        started = time.perf_counter()
        for _ in range(epochs):
            for index in torch.randperm(_INPUTS).split(_BATCH):
                inputs, labels = self.train[0][index], self.train[1][index]
                probabilities = self.model(inputs).softmax(-1)  # [B, C]
                rewards = torch.full_like(probabilities, -1.0).scatter(1, labels[:, None], 1.0)
                loss = -(probabilities * rewards).sum(-1).mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            with torch.no_grad():
                loss_sum = correct = 0.0
                for inputs, labels in zip(
                    self.test[0].split(_BATCH), self.test[1].split(_BATCH), strict=True
                ):
                    logits = self.model(inputs)
                    loss_sum += nn.functional.cross_entropy(logits, labels, reduction="sum").item()
                    correct += (logits.argmax(-1) == labels).sum().item()
        return (time.perf_counter() - started) / epochs


class _Ours:
    """The project's own run of the same size, with its files."""

    def __init__(self, data: Path, folder: Path) -> None:
        config = ControlledConfig(
            dataset="npz", model_type="mlp", data_path=str(data), num_labels_per_sample=5,
            random_seed=0,
            frac_samples_to_modify_labels=0.1, opt_method="expected_reinforce",
            optimizer="adam", lr=_LR, batch_size=_BATCH,
        )  # fmt: skip
        folder.mkdir()
        experiment = ControlledExperiment(config, Context(RunFolder(folder), seed=0))
        drawn = experiment.make_data()
        self.trainer = experiment.make_trainer(drawn, experiment.make_model(drawn))
        self.clock = _Clock()
        self.trainer.callbacks = [*experiment.callbacks(), self.clock]

    def seconds_per_epoch(self, epochs: int) -> float:
        """All that an epoch does is counted, files too; what a run does once is not."""
        self.clock.times.clear()
        fit(self.trainer, self.trainer.epoch + epochs + 1)
        return (self.clock.times[-1] - self.clock.times[0]) / epochs


class _Clock(Callback):
    """Reads the time at the end of each epoch, after all other callbacks."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_epoch_end(self, trainer: Trainer[Any], metrics: dict[str, Any]) -> None:
        self.times.append(time.perf_counter())


def main() -> None:
    """Prints seconds per epoch and their ratios, the loops taking turns."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_data(folder / "data.npz")
        loops = {
            "this project": _Ours(folder / "data.npz", folder / "run"),
            "plain loop": _Plain(folder / "data.npz", fused=False),
            "plain loop, fused Adam": _Plain(folder / "data.npz", fused=True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(_ROUNDS):
            for name, loop in loops.items():
                seconds[name].append(loop.seconds_per_epoch(_EPOCHS))
    print(f"Controlled MLP, seconds per finetuning epoch ({torch.get_num_threads()} threads)")
    ours = seconds["this project"]
    for name, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(ours, own, strict=True))
        print(f"  {name:24s} {statistics.median(own):.5f}   this project / it: {ratio:.2f}")


if __name__ == "__main__":
    main()
