"""The keys of parts that judge texts by a model."""

from __future__ import annotations

from typing import Annotated

from common.config.base import NO_EFFECT, Config, OptionalText
from common.config.fit import PositiveInt
from grue.models.config import Dtype


class ScorerArgs(Config):
    """How a judging model is held."""

    batch_size: Annotated[PositiveInt, NO_EFFECT] = 32
    """Texts that the model reads together."""
    dtype: Dtype = "float32"
    """Type of its weights."""
    device: Annotated[OptionalText, NO_EFFECT] = None
    """Device such as ``"cpu"`` or ``"cuda:1"``, the second of the run's ``gpu_ids``; None for where
    the run computes."""
