"""The MLP on MNIST: pretraining, then SFT against RFT."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu.findings import Findings
from tests.gpu.studies import Study, make

pytestmark = pytest.mark.gpu

_STUDY = Study(
    "mlp_mnist_study",
    "MNIST",
    seconds=90,
    num_parallel=2,
    vectorize=True,
    own_keys={"data_dir": "{data}"},
)


def test_study(full: bool, findings: Findings, tmp_path: Path) -> None:
    make(_STUDY, findings, tmp_path, full=full)
