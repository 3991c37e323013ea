"""The folder of a trained model: written without a word of the library."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers.utils.logging import enable_progress_bar

from common.run.folder import RunFolder
from grue.policies.policy import Policy
from grue.runs.model_folder import MODEL, save_model


def test_no_progress_bar_of_the_library_breaks_through_the_plans(
    causal_policy: Policy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    enable_progress_bar()
    save_model(RunFolder(tmp_path), causal_policy, "a card")
    assert (tmp_path / MODEL / "model.safetensors").is_file()
    assert capsys.readouterr().err == ""
