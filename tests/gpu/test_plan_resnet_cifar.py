"""ResNet-18 on CIFAR-10: pretraining, then SFT against RFT."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu.findings import Findings
from tests.gpu.studies import Study, make

pytestmark = pytest.mark.gpu

_STUDY = Study(
    "resnet_cifar_study",
    "cifar-10-batches-py",
    seconds=60,
    num_parallel=3,
    own_keys={"data_dir": "{data}"},
)


def test_study(full: bool, findings: Findings, tmp_path: Path) -> None:
    make(_STUDY, findings, tmp_path, full=full)
