"""Seconds per epoch of 16 runs of the golden digits MLP, together against one after the other.

400 inputs, layers 64-32-16-10, batch 128, Adam, 10 % changed labels, all metrics on, validation on
200 inputs every epoch; the runs differ in step size and seeds. Training is timed, with its metrics
files and logs; making data and models, and checkpoints (written once a minute), are not.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from common.experiment import Context
from common.run.folder import RunFolder
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.vectorized.together import Fit, train_epoch
from sft_vs_rft.vectorized.trainer import StackedTrainer
from tests.fits import fit as train_for

_GOLDEN = Path(__file__).parents[1] / "golden/digits_mlp.json"
_RUNS, _EPOCHS, _ROUNDS = 16, 20, 7


@dataclass
class Member:
    """A run whose errors are raised."""

    config: ControlledConfig
    context: Context
    is_over: bool = False

    @contextmanager
    def on_its_own(self) -> Iterator[None]:
        yield

    def done(self, score: float | None) -> None:
        self.is_over = True


def golden_keys() -> dict[str, Any]:
    """Keys of the golden finetuning run on digits, from random weights."""
    published = json.loads(_GOLDEN.read_text())["finetune_expected_reinforce_adam"]["config"]
    return {key: value for key, value in published.items() if key != "load_model_from_checkpoint"}


def _members(folder: Path, runs: int, shared: dict[str, Any], gpu_ids: tuple[int, ...]
             ) -> Iterator[Member]:  # fmt: skip
    for seed in range(runs):
        config = ControlledConfig.model_validate(
            shared | {"lr": 1e-4 * (1 + seed), "random_seed": seed, "init_rnd_seed": seed,
                      "samples_rnd_seed": seed, "epochs": 1_000_000}
        )  # fmt: skip
        own = folder / str(seed)
        own.mkdir(parents=True)
        yield Member(config, Context(RunFolder(own), seed=seed, gpu_ids=gpu_ids))


def _alone(fits: list[Fit], epochs: int) -> None:
    for fit in fits:
        train_for(fit.trainer, fit.trainer.epoch + epochs)


def _together(fits: list[Fit], epochs: int) -> None:
    for fit in fits:
        fit.trainer.begin()
    stacked = StackedTrainer([fit.trainer for fit in fits])
    for _ in range(epochs):
        train_epoch(fits, stacked)
    for fit in fits:
        fit.trainer.close()


def fits_of(folder: Path, runs: int, shared: dict[str, Any], gpu_ids: tuple[int, ...]) -> list[Fit]:
    """Prepared runs that differ in step size and seeds, without checkpoints."""
    return [Fit(member) for member in _members(folder, runs, shared, gpu_ids)]


def seconds_per_epoch(
    runs: int, *, shared: dict[str, Any], epochs: int, rounds: int, gpu_ids: tuple[int, ...] = ()
) -> dict[str, list[float]]:
    """Seconds per epoch of all runs, one after the other and together, which take turns."""
    ways = {"one after the other": _alone, "together": _together}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as name:
        fits = {way: fits_of(Path(name) / way, runs, shared, gpu_ids) for way in ways}
        for number in range(rounds + 1):
            for way, train in ways.items():
                started = time.perf_counter()
                train(fits[way], epochs)  # each epoch ends with a transfer from the device
                if number:  # the first round warms up
                    seconds[way].append((time.perf_counter() - started) / epochs)
    return seconds


def main() -> None:
    """Prints both and their ratio, taking turns."""
    seconds = seconds_per_epoch(_RUNS, shared=golden_keys(), epochs=_EPOCHS, rounds=_ROUNDS)
    print(f"{_RUNS} digits MLPs, seconds per epoch of all ({torch.get_num_threads()} threads)")
    alone = seconds["one after the other"]
    for way, own in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(alone, own, strict=True))
        print(f"  {way:20s} {statistics.median(own):.5f}   {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
