"""The folder of a trained model, in Hugging Face layout."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from common.run_folder import RunFolder
from grue.policies.loading import merged

if TYPE_CHECKING:
    from grue.judges.classifier import Classifier
    from grue.policies.policy import Policy

MODEL = "model"


def save_model(
    folder: RunFolder,
    policy: Policy | Classifier,
    card: str,
    files: Mapping[str, str] | None = None,
) -> None:
    """Puts the model, its tokenizer and its card into the run's folder, whole or not at all.

    ``files`` are texts that stand beside them, by name.
    """
    beside, target = folder.path / f".{MODEL}", folder.path / MODEL
    shutil.rmtree(beside, ignore_errors=True)
    model = merged(policy.model)
    model.save_pretrained(beside)
    policy.tokenizer.save_pretrained(beside)
    for name, text in {"README.md": card, **(files or {})}.items():
        (beside / name).write_text(text, encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    beside.replace(target)
