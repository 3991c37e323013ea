"""No update of a controlled run makes the host wait for the GPU, and an epoch does so twice.

One transfer of the epoch's metrics and one of the validation's are the places that may.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.fits import fit
from tests.gpu import controlled
from tests.gpu.controlled import OnDevice, trainer_of
from tests.gpu.findings import Findings
from tests.gpu.waits import no_waits, waits_of

pytestmark = pytest.mark.gpu

_KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "MLP": lambda path: controlled.vectors(path / "data.npz", 256),
    "ResNet-18": lambda path: controlled.images(path / "data.npz", 64),
    "BERT-mini": lambda path: controlled.sentence_pairs(path, 64),
}


_METHODS = ("expected_reinforce", "reinforce", "supervised")
_PER_EPOCH = 2


@pytest.fixture(autouse=True)
def _on_cuda(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("torch tells of waits for a CUDA device alone; the tests' pretended GPU counts")


def _keys(name: str, method: str, folder: Path) -> dict[str, Any]:
    return {**_KINDS[name](folder), "opt_method": method, "batch_size": 32,
            "frac_samples_to_modify_labels": 0.25, "kl_regularization_coeff": 0.1}  # fmt: skip


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("name", _KINDS)
def test_updates(
    name: str, method: str, device: torch.device, findings: Findings, tmp_path: Path
) -> None:
    keys = _keys(name, method, tmp_path / "data")
    trainer = trainer_of(OnDevice(keys, tmp_path / "run", device))
    batches = list(trainer.batches())
    trainer.train_step(batches[0])  # the first one makes plans and workspaces
    waits = ""
    try:
        with no_waits():
            for batch in batches[1:]:
                trainer.train_step(batch)
    except RuntimeError as error:
        waits = str(error).partition("\n")[0]
    findings.equal(f"{name}, {method}: waits in {len(batches) - 1} updates", waits or "none",
                   "none")  # fmt: skip


@pytest.mark.parametrize("method", _METHODS)
@pytest.mark.parametrize("name", _KINDS)
def test_epoch(
    name: str, method: str, device: torch.device, findings: Findings, tmp_path: Path
) -> None:
    """A whole one, with the metrics of training and validation and all that is written."""
    run = OnDevice(_keys(name, method, tmp_path / "data"), tmp_path / "run", device)
    _, trainer = run.prepare()
    fit(trainer, 1)
    waits = waits_of(lambda: fit(trainer, 2))
    for place, count in waits.most_common(_PER_EPOCH + 2):
        findings.number(f"{name}, {method}: waits of an epoch at {place}", count, "")
    findings.at_most(f"{name}, {method}: waits of an epoch", waits.total(), _PER_EPOCH)
