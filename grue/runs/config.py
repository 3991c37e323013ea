"""Keys that all text runs share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

from pydantic import Strict

from common.config.base import (
    NO_EFFECT,
    OptionalText,
)
from common.config.run import RunConfig
from common.config.tracker_settings import TrackerSettings
from common.config.tracking import TrackingConfig
from common.errors import Problem
from common.packages import lacking
from grue.metrics.config import MetricConfig
from grue.metrics.metric import METRICS
from grue.models.config import TokenizerConfig, unnamed
from grue.tasks.config import DatapoolConfig
from grue.tasks.task import Split

Metrics = Annotated[tuple[MetricConfig, ...], Strict(False)]


class TextConfig(RunConfig):
    """Base of the keys of text runs."""

    tokenizer: TokenizerConfig | None = None
    """Keys of the tokenizer, and the truncation and padding of prompts; None where a server reads
    the prompts."""
    datapool: DatapoolConfig
    """A task, and the subsets of its splits."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits of the task that the run reads."""
        return ("train",)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems that the parts find in their own keys."""
        yield from super().problems()
        if self.tokenizer is not None:
            yield from unnamed(self.tokenizer.model_name, "tokenizer.model_name")
            yield from (problem.below("tokenizer") for problem in self.tokenizer.problems())
        yield from (problem.below("datapool") for problem in self.datapool.problems())


class TrackedConfig(TextConfig, TrackingConfig):
    """Keys of text runs that measure a model while it is trained."""

    tokenizer: TokenizerConfig
    """Keys of the tokenizer, and the truncation and padding of prompts."""
    wandb_project_name: Annotated[OptionalText, NO_EFFECT] = None
    """Project of Weights & Biases and of Trackio; None for ``project_name``."""
    project_name: Annotated[str, NO_EFFECT] = "rl4lm_exps"
    """Published name of ``wandb_project_name``, which wins where both are given."""
    entity_name: Annotated[OptionalText, NO_EFFECT] = None
    """Published name of ``wandb_entity_name``, which wins where both are given."""
    log_to_wandb: Annotated[bool, NO_EFFECT] = False
    """If true, metrics and shown outputs are also sent to Weights & Biases, as published.
    ``use_wandb`` sends the files of the run's folder too."""

    def tracker_settings(self) -> TrackerSettings:
        """Return where the run's metrics go, the published keys included."""
        return replace(
            super().tracker_settings(),
            wandb=self.use_wandb or self.log_to_wandb,
            project=self.wandb_project_name or self.project_name,
            entity=self.wandb_entity_name or self.entity_name,
            run_name=self.experiment_name,
            uploads_files=self.use_wandb,
        )

    def missing(self) -> Iterator[Problem]:
        """Report Weights & Biases, if it is asked for by the published key."""
        yield from super().missing()
        if self.log_to_wandb:
            yield from lacking("wandb", "log_to_wandb", True)


def problems_of_metrics(metrics: Metrics, key: str) -> Iterator[Problem]:
    """Yield the problems of the metrics at ``key``: of their own keys, and of values that replace.

    Published plans name a metric twice with the same keys, which measures the same twice.
    """
    first: dict[str, tuple[int, MetricConfig]] = {}
    for position, metric in enumerate(metrics):
        yield from (problem.below(f"{key}[{position}]") for problem in metric.problems())
        before, other = first.setdefault(metric.id, (position, metric))
        if other != metric and metric.id in METRICS.names():
            names = METRICS.get(metric.id).names
            if not any("*" in name for name in names):
                yield Problem(f"measures {' and '.join(map(repr, names))} as {key}[{before}] does "
                              "with other 'args', and one of both values would be lost; take one "
                              "out", f"{key}[{position}].id", metric.id)  # fmt: skip


def renamed(values: Any, published: str) -> Any:
    """Return the keys, with ``outputs_dir`` from its published name if it is not given."""
    if isinstance(values, dict) and values.get(published) and "outputs_dir" not in values:
        return {**values, "outputs_dir": values[published]}
    return values
