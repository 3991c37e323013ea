"""Controlled runs on the pretended GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.vectorized.together import run_together, train_epoch
from sft_vs_rft.vectorized.trainer import StackedTrainer
from tests.benchmarks.vectorized import Member, fits_of
from tests.fits import fit as train_for
from tests.gpu import controlled
from tests.gpu.controlled import OnDevice
from tests.pretended_gpu.device import DEVICE, PretendedGpu
from tests.pretended_gpu.waits import Waits

_METHODS = ("expected_reinforce", "reinforce", "supervised")
_INPUTS = 32


def _keys(model: str, folder: Path) -> dict[str, Any]:
    """Keys of a run with all metrics, validation every epoch, and changed labels."""
    makers = {
        "mlp": lambda: controlled.vectors(folder / "data.npz", _INPUTS, width=12),
        "resnet18": lambda: controlled.images(folder / "data.npz", _INPUTS, side=8),
        "bert": lambda: controlled.sentence_pairs(folder / "pairs", _INPUTS, hidden_size=16),
    }
    return {**makers[model](), "mlp_hidden_layer_sizes": [8], "optimizer": "adam",
            "num_labels_per_sample": 3, "kl_regularization_coeff": 0.1, "batch_size": 16,
            "frac_samples_to_modify_labels": 0.25}  # fmt: skip


def epochs(gpu: PretendedGpu, folder: Path, model: str) -> dict[str, Waits]:
    """Of each method, the second epoch in two batches and in four."""
    shared, found = _keys(model, folder), {}
    for method in _METHODS:
        for batch_size in (16, 8):
            name = f"{method}, {_INPUTS // batch_size} batches"
            keys = {**shared, "opt_method": method, "batch_size": batch_size}
            found[name] = _second_epoch(gpu, keys, folder / name)
    return found


def _second_epoch(gpu: PretendedGpu, keys: dict[str, Any], folder: Path) -> Waits:
    """Without checkpoints, which are written once a minute."""
    _, trainer = OnDevice(keys, folder, DEVICE).prepare()
    train_for(trainer, 1)
    with gpu.counting() as waits:
        train_for(trainer, 2)
    return waits


def whole(gpu: PretendedGpu, folder: Path) -> dict[str, Waits]:
    """A run with the table of single inputs that ends, and goes on from its checkpoint."""
    keys = {**_keys("mlp", folder), "opt_method": "expected_reinforce", "theory_every": 1}
    with gpu.counting() as first:
        OnDevice({**keys, "epochs": 1}, folder / "run", DEVICE).run()
    with gpu.counting() as second:
        rows = OnDevice({**keys, "epochs": 2}, folder / "run", DEVICE).rows()
    assert [row["epoch"] for row in rows] == [0, 1]
    return {"first": first, "gone on": second}


def like_on_the_cpu(gpu: PretendedGpu, folder: Path, model: str) -> dict[str, Waits]:
    """A run that measures there what it measures on the CPU."""
    keys = {**_keys(model, folder), "opt_method": "expected_reinforce", "epochs": 2}
    with gpu.counting() as waits:
        rows = OnDevice(keys, folder / "there", DEVICE).rows()
    here = OnDevice(keys, folder / "here", "cpu").rows()
    apart = controlled.deviation(rows, here)
    assert max(apart) < 1e-4, apart
    return {"run": waits}


def sweep(gpu: PretendedGpu, folder: Path) -> dict[str, Waits]:
    """Runs that are trained together, of each method."""
    shared, found = _keys("mlp", folder), {}
    for method in _METHODS:
        for batch_size in (16, 8):
            name = f"{method}, {_INPUTS // batch_size} batches"
            keys = {**shared, "opt_method": method, "batch_size": batch_size, "epochs": 2}
            fits = fits_of(folder / name, 3, keys, (0,))
            for fit in fits:
                fit.trainer.begin()
            stacked = StackedTrainer([fit.trainer for fit in fits])
            train_epoch(fits, stacked)
            with gpu.counting() as found[name]:
                train_epoch(fits, stacked)
            for fit in fits:
                fit.trainer.close()
    with gpu.counting() as found["whole"]:
        members = [
            Member(config, controlled.context(folder / f"whole{seed}", DEVICE, seed))
            for seed in range(2)
            for config in [ControlledConfig.model_validate(shared | {"epochs": 1, "lr": 0.1})]
        ]
        run_together(members)
    assert all(member.is_over for member in members)
    return found
