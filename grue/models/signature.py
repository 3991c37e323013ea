"""Arguments of a model's forward pass, which differ between architectures."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def accepts(model: PreTrainedModel, name: str) -> bool:
    """Return whether the model's forward pass takes an argument of this name."""
    base = getattr(model, "get_base_model", None)  # of a model with adapters
    forward = model.forward if base is None else base().forward
    return name in inspect.signature(forward).parameters
