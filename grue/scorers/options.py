"""Keys of metrics and rewards that score texts by a model."""

from __future__ import annotations

from typing import Annotated

from common.config.base import NO_EFFECT, Config, OptionalText
from common.config.fit import PositiveInt
from grue.models.config import Dtype


class ScorerArgs(Config):
    """Batch size, type and device of a scoring model."""

    batch_size: Annotated[PositiveInt, NO_EFFECT] = 32
    """Number of texts per batch."""
    dtype: Dtype = "float32"
    """Type of the model's weights."""
    device: Annotated[OptionalText, NO_EFFECT] = None
    """Device of the model, such as ``"cpu"`` or ``"cuda:1"``, the second of the run's ``gpu_ids``;
    None for the run's own."""
