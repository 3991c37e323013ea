"""The keys that all text runs share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import Strict

from common.config.base import (
    NO_EFFECT,
    OptionalText,
)
from common.config.run import RunConfig
from common.errors import Problem
from common.packages import lacking
from grue.metrics.config import MetricConfig
from grue.models.config import TokenizerConfig, unnamed
from grue.tasks.config import DatapoolConfig
from grue.tasks.task import Split

Metrics = Annotated[tuple[MetricConfig, ...], Strict(False)]


class TextConfig(RunConfig):
    """What all text runs share."""

    tokenizer: TokenizerConfig
    """Keys of the tokenizer, and the truncation and padding of prompts."""
    datapool: DatapoolConfig
    """A task, and the subsets of its splits."""

    splits: ClassVar[tuple[Split, ...]] = ("train",)
    """The splits of the task that the run reads."""

    def problems(self) -> Iterator[Problem]:
        """What the parts find wrong with their own keys."""
        yield from super().problems()
        yield from unnamed(self.tokenizer.model_name, "tokenizer.model_name")
        yield from (problem.below("tokenizer") for problem in self.tokenizer.problems())
        yield from (problem.below("datapool") for problem in self.datapool.problems())


class TrackedConfig(TextConfig):
    """What text runs share that measure a model while it is trained."""

    project_name: Annotated[str, NO_EFFECT] = "rl4lm_exps"
    """Project of Weights & Biases."""
    entity_name: Annotated[OptionalText, NO_EFFECT] = None
    """User or team of Weights & Biases."""
    log_to_wandb: Annotated[bool, NO_EFFECT] = False
    """If true, metrics are also sent to Weights & Biases."""

    def missing(self) -> Iterator[Problem]:
        """Weights & Biases, if it is asked for."""
        yield from super().missing()
        if self.log_to_wandb:
            yield from lacking("wandb", "log_to_wandb", True)


def problems_of_metrics(metrics: Metrics, key: str) -> Iterator[Problem]:
    """What each of the metrics at ``key`` finds wrong with its own keys."""
    for position, metric in enumerate(metrics):
        yield from (problem.below(f"{key}[{position}]") for problem in metric.problems())


def renamed(values: Any, published: str) -> Any:
    """The keys, with ``outputs_dir`` as its published name gives it where it is not given."""
    if isinstance(values, dict) and values.get(published) and "outputs_dir" not in values:
        return {**values, "outputs_dir": values[published]}
    return values
