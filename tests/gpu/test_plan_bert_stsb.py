"""BERT-mini on STS-B: pretraining, then SFT against RFT."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu.findings import Findings
from tests.gpu.studies import Study, make

pytestmark = pytest.mark.gpu

_STUDY = Study(
    "bert_stsb_study",
    "stsb",
    seconds=60,
    num_parallel=3,
    own_keys={"data_path": "{data}/stsb", "model_type": "bert:{data}/bert-mini"},
)


def test_study(full: bool, findings: Findings, tmp_path: Path) -> None:
    make(_STUDY, findings, tmp_path, full=full)
