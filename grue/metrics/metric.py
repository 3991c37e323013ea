"""Base class of metrics: numbers for single outputs, and for all outputs together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.config.base import Config
from common.registry import Registry
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.policies.policy import Policy

Scores = NDArray[np.float64]
"""[N] one number per output."""


class NoArgs(Config):
    """Keys of a metric that has none."""


ArgsT = TypeVar("ArgsT", bound=Config)


class Metric(ABC, Generic[ArgsT]):
    """Metric of outputs.

    Built once per run from its args, with costly things loaded at first use.
    """

    Args: ClassVar[type[Config]] = NoArgs
    """Model of the metric's keys (its ``args``)."""
    names: ClassVar[Sequence[str]] = ()
    """Keys of the metric, as patterns with ``*`` where there are many; empty if they are known only
    once it has measured. A plan's figures are held against them before the first run."""
    has_scores: ClassVar[bool] = True
    """If true, an evaluation writes the scores of single outputs next to its predictions."""
    largest: ClassVar[Mapping[str, float]] = {}
    """Largest scores by metric key, where they are known: an output that has it is right, and
    evaluations with several outputs per input tell its pass@k."""
    needs_references: bool = False
    """If true, the metric needs references; evaluations of splits without references skip it."""
    needed_metadata: Sequence[str] = ()
    """Keys of the task's `Sample.metadata` without which it fails."""

    def __init__(self, args: ArgsT) -> None:
        self.args = args

    def prepare(self) -> None:
        """Check, before any run starts, that data, models and programs of the metric are there.

        Raises:
            UserError: something is missing.
        """

    @abstractmethod
    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] by metric key: the value of each output alone.

        Raises:
            UserError: what the metric needs is missing (a package, data, a reference).
        """

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> Mapping[str, float]:
        """Return the value of all outputs together, by metric key: by default, the mean.

        ``policy`` is the model that wrote them, for metrics that measure it. A metric that is not
        defined for ``split`` returns no values.
        """
        return {key: float(np.mean(values)) for key, values in self.scores(texts).items()}


METRICS: Registry[type[Metric[Any]]] = Registry("metric")
