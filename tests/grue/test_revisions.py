"""Which revision of the hub's models and data sets runs read, and what they say of it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from huggingface_hub import constants
from transformers import PreTrainedTokenizerFast

from common.run.folder import read_json
from tests.conftest import Workplace
from tests.grue.conftest import cache_as_hub, save_model, write
from tests.grue.test_extract import extraction

TINY = "lab/tiny"


@pytest.fixture
def commits(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """The commits by revision of a model that the hub's cache holds."""
    model = save_model(tmp_path / "model", tokenizer)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return cache_as_hub(tmp_path / "hub", TINY, {"main": model, "old": model})


def test_provenance_tells_versions_and_commits(
    workplace: Workplace, commits: dict[str, str]
) -> None:
    run = extraction(Path(TINY))
    assert workplace.run_plan(write(workplace, run)).status == 0
    (folder,) = workplace.folders()
    found = read_json(folder.provenance)
    assert found["hub"] == {TINY: commits["main"]}
    for package in ("transformers", "datasets", "tokenizers", "peft", "accelerate"):
        assert found["versions"][package] == version(package)
