"""Seconds of an epoch at published size against a plain loop, with and without measurements.

The plain loop trains on the mean expected reward and validates, on resident tensors, in one pass
per batch; it measures nothing else and knows nothing of changed labels. All take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sft_vs_rft import objectives
from sft_vs_rft.trainer import ControlledTrainer
from tests.benchmarks.timing import medians_in_turns
from tests.fits import fit
from tests.gpu import controlled
from tests.gpu.controlled import OnDevice
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu

_SIZES = {"MLP": (1_000, 100), "ResNet-18": (10_000, 40), "BERT-mini": (5_700, 40)}
"""Inputs as published, and on a CPU."""
_BATCH = {"MLP": 512, "ResNet-18": 512, "BERT-mini": 256}
_KINDS: dict[str, Callable[[Path, int], dict[str, Any]]] = {
    "MLP": lambda path, count: controlled.vectors(path / "data.npz", count),
    "ResNet-18": lambda path, count: controlled.images(path / "data.npz", count),
    "BERT-mini": lambda path, count: controlled.sentence_pairs(path, count),
}
_VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "MLP": ("MLP", {}),
    "ResNet-18": ("ResNet-18", {}),
    "ResNet-18, tf32, channels last": ("ResNet-18", {"precision": "tf32", "channels_last": True}),
    "ResNet-18, bf16, channels last": ("ResNet-18", {"precision": "bf16", "channels_last": True}),
    "BERT-mini": ("BERT-mini", {}),
    "BERT-mini, bf16": ("BERT-mini", {"precision": "bf16"}),
}


class _Ours:
    """The project's own run, with its metrics files and without checkpoints."""

    def __init__(self, keys: dict[str, Any], folder: Path, device: torch.device) -> None:
        run = OnDevice(keys, folder, device)
        _, trainer = run.prepare()
        assert isinstance(trainer, ControlledTrainer)
        self.trainer = trainer

    def train(self, epochs: int) -> None:
        """As many more epochs."""
        fit(self.trainer, self.trainer.epoch + epochs)


class _PlainLoop:
    """Trains and validates a model of the same kind on the same tensors."""

    def __init__(self, trainer: ControlledTrainer) -> None:
        self._its = trainer
        self._passes = trainer.data.train_inputs, trainer.data.test_inputs

    def train(self, epochs: int) -> None:
        """As many more epochs."""
        for _ in range(epochs):
            self._epoch()

    def _epoch(self) -> None:
        its = self._its
        inputs, size = its.data.train_inputs, its.config.batch_size
        for positions in torch.randperm(len(inputs)).split(size):
            its.optimizer.zero_grad()
            for chunk in inputs.chunks(positions, size):
                logits = its.policy_logits(inputs.take(chunk))
                index = chunk.to(logits.device, non_blocking=True)
                value = objectives.expected_reward(logits, its.rewards[index])
                (-value.sum() / len(positions)).backward()
            its.optimizer.step()
        logits = its.logits_without_grad(its.data.test_inputs)
        loss = objectives.cross_entropy(logits, its.test_targets).mean()
        correct = (logits.argmax(-1) == its.test_targets).float().mean()
        torch.stack([loss, correct]).tolist()


@pytest.mark.parametrize("name", _VARIANTS)
def test_epoch(
    name: str, device: torch.device, full: bool, findings: Findings, tmp_path: Path
) -> None:
    kind, more = _VARIANTS[name]
    made = _KINDS[kind](tmp_path / "data", _SIZES[kind][0 if full else 1])
    keys = {**made, **more, "opt_method": "expected_reinforce", "optimizer": "adam", "lr": 1e-4,
            "batch_size": _BATCH[kind] if full else 20, "epochs": 1_000_000,
            "frac_samples_to_modify_labels": 0.1, "epoch_log_interval": 10}  # fmt: skip
    epochs = 20 if kind == "MLP" else 1
    measured = _Ours(keys, tmp_path / "measured", device)
    bare = _Ours({**keys, "diagnostics": False}, tmp_path / "bare", device)
    plain = _PlainLoop(_Ours(keys, tmp_path / "plain", device).trainer)
    ways = {"all metrics": measured, "no diagnostics": bare, "plain loop": plain}
    seconds = medians_in_turns(
        {way: lambda loop=loop: loop.train(epochs) for way, loop in ways.items()},
        rounds=3 if full else 2, device=device,
    )  # fmt: skip
    for way in ("all metrics", "no diagnostics"):
        findings.speed(f"epoch of {name}, {way}", seconds[way] / epochs, "a plain loop",
                       seconds["plain loop"] / epochs)  # fmt: skip
