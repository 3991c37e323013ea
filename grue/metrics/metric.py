"""What a metric is: numbers for outputs one by one, and for all of them together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
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
    """The keys of a part that has none."""


ArgsT = TypeVar("ArgsT", bound=Config)


class Metric(ABC, Generic[ArgsT]):
    """Built once per run from its args; what is costly to load is loaded at the first use."""

    Args: ClassVar[type[Config]] = NoArgs
    """The model of the metric's keys (its ``args``)."""
    has_scores: ClassVar[bool] = True
    """Whether an evaluation writes the scores of single outputs beside its predictions."""
    needs_references: bool = False
    """Whether nothing can be said without references; evaluations of splits that have none leave
    such a metric out."""

    def __init__(self, args: ArgsT) -> None:
        self.args = args

    def prepare(self) -> None:
        """Looks, before any run starts, for what the metric needs beside Python packages' code.

        Raises:
            UserError: something is missing.
        """

    @abstractmethod
    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """[N] by metric key: the value of each output as if it were the only one.

        Raises:
            UserError: what the metric needs is missing (a package, data, a reference).
        """

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> Mapping[str, float]:
        """The value of all outputs together, by metric key: the mean unless defined otherwise.

        ``policy`` is the model that wrote them, for metrics that measure it. A metric that is
        not defined for ``split`` gives nothing.
        """
        return {key: float(np.mean(values)) for key, values in self.scores(texts).items()}


METRICS: Registry[type[Metric[Any]]] = Registry("metric")
