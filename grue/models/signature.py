"""Arguments of a model's forward pass, which differ between architectures."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def accepts(model: PreTrainedModel, name: str) -> bool:
    """Return whether the model's forward pass takes an argument of this name."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return name in inspect.signature(inner.forward).parameters
