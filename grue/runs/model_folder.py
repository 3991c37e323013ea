"""The folder of a trained model, in Hugging Face layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from common.run.folder import RunFolder, replacing_folder
from common.training.checkpoint import num_bytes
from grue.models.loading import merged
from grue.models.weights import hide_progress_bars

if TYPE_CHECKING:
    from grue.policies.policy import Policy
    from grue.scorers.classifier import Classifier

MODEL = "model"


def save_model(
    folder: RunFolder,
    policy: Policy | Classifier,
    card: str,
    files: Mapping[str, str] | None = None,
) -> None:
    """Write the model, its tokenizer and its card to the run's folder, completely or not at all.

    ``files`` are further texts, by file name.
    """
    model = merged(policy.model)
    hide_progress_bars()
    with replacing_folder(folder.path / MODEL, num_bytes(model.state_dict())) as made:
        model.save_pretrained(made)
        policy.tokenizer.save_pretrained(made)
        for name, text in {"README.md": card, **(files or {})}.items():
            (made / name).write_text(text, encoding="utf-8")
