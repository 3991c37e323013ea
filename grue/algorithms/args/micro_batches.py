"""Setting of updates that are computed in parts."""

from __future__ import annotations

from typing import Annotated

from common.config.base import LATER
from common.config.fit import PositiveInt
from grue.algorithms.config import AlgorithmArgs


class MicroBatchArgs(AlgorithmArgs):
    """Updates whose minibatches are computed in parts, to save memory."""

    micro_batch_size: Annotated[PositiveInt | None, LATER] = None
    """Largest number of outputs computed at once; gradients add up over an optimizer step, whose
    means are those of all its tokens. It saves memory and changes results by rounding alone. None
    computes all outputs of a minibatch at once, or as many as the algorithm itself takes."""
