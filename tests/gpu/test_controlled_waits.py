"""No update of a controlled run makes the host wait for the GPU.

One transfer of the epoch's metrics and one of the validation's are the places that may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.gpu import controlled
from tests.gpu.controlled import OnDevice, trainer_of
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu

_KINDS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "MLP": lambda path: controlled.vectors(path / "data.npz", 256),
    "ResNet-18": lambda path: controlled.images(path / "data.npz", 64),
    "BERT-mini": lambda path: controlled.sentence_pairs(path, 64),
}


@contextmanager
def _no_waits() -> Iterator[None]:
    """A block in which a wait is an error."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("method", ["expected_reinforce", "reinforce", "supervised"])
@pytest.mark.parametrize("name", _KINDS)
def test_updates(
    name: str, method: str, device: torch.device, findings: Findings, tmp_path: Path
) -> None:
    if device.type != "cuda":
        pytest.skip("torch tells of waits for a CUDA device alone; the tests' pretended GPU counts")
    keys = {**_KINDS[name](tmp_path / "data"), "opt_method": method, "batch_size": 32,
            "frac_samples_to_modify_labels": 0.25, "kl_regularization_coeff": 0.1}  # fmt: skip
    trainer = trainer_of(OnDevice(keys, tmp_path / "run", device))
    batches = list(trainer.batches())
    trainer.train_step(batches[0])  # the first one makes plans and workspaces
    torch.cuda.synchronize()
    waits = ""
    try:
        with _no_waits():
            for batch in batches[1:]:
                trainer.train_step(batch)
    except RuntimeError as error:
        waits = str(error).partition("\n")[0]
    findings.equal(f"{name}, {method}: waits in {len(batches) - 1} updates", waits or "none",
                   "none")  # fmt: skip
