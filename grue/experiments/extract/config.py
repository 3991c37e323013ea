"""The keys of an extraction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, model_validator

from common.config.base import (
    NO_EFFECT,
    Config,
    OptionalText,
)
from common.config.fit import NonNegativeFloat, PositiveInt
from common.config.hub import FromHub
from common.errors import Problem
from grue.experiments import memory_hints
from grue.models.config import ModelName, ModelOptions, ModelType, unnamed
from grue.policies.generation_config import GenerationConfig, generation_problems
from grue.runs.compatibility import OfReferences, references_as_published
from grue.runs.config import Metrics, TextConfig, problems_of_metrics, renamed

GroupSizes = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Strict(False)]


class ExtractAlg(FromHub):
    """The model whose outputs are sampled."""

    model_type: ModelType
    """Architecture of the model: causal, or encoder-decoder."""
    model_name: ModelName
    """The model."""
    generation_kwargs: GenerationConfig
    """How its outputs are sampled."""
    policy: ModelOptions = Field(default_factory=ModelOptions)
    """How the model is held."""


class Evaluation(Config):
    """What is sampled and measured."""

    eval_batch_size: PositiveInt
    """Inputs whose outputs are sampled together."""
    num_samples_per_input: PositiveInt = 10
    """K, the samples of each input."""
    metrics: Annotated[Metrics, Field(min_length=1)]
    """What is measured of each sample; the first is the reward of figures."""
    ddof: Annotated[int, Field(ge=0, le=1)] = 1
    """1 divides squared deviations by K - 1 and 0 by K in each input's reward std."""
    zero_tol: NonNegativeFloat | None = None
    """An input's std counts as zero where its largest and smallest reward differ by at most this;
    None for a millionth of the input's largest absolute reward, which is more than rounding."""
    low_std: NonNegativeFloat = 0.01
    """Reward std below which an input counts as low, in units of the reward."""
    group_sizes: GroupSizes = (2, 4, 8)
    """Group sizes for which the share of inputs without deviation is estimated; at most K."""
    sampler: Literal["own", "generate"] = "own"
    """``own`` decodes with the project's loop, ``generate`` with the library's."""


class ExtractConfig(TextConfig):
    """Samples of a model for training inputs, and what they are worth."""

    alg: ExtractAlg
    """The model whose outputs are sampled."""
    evaluation: Evaluation
    """What is sampled and measured."""
    compatibility: OfReferences = ()
    """Behaviours of RL4LMs to bring back, by name or as ``rl4lms``: ``stringify_references`` for
    all metrics that have this key and do not give it."""
    published_format: bool = False
    """Whether the published dictionary is written too, by ``torch.save``."""
    output_path: Annotated[OptionalText, NO_EFFECT] = None
    """The published name of ``outputs_dir``, which wins where both are given."""
    output_file_suffix: Annotated[str, NO_EFFECT] = ""
    """Part of the published dictionary's file name, with ``published_format``."""

    @model_validator(mode="before")
    @classmethod
    def _published_folder(cls, values: Any) -> Any:
        return renamed(values, "output_path")

    @model_validator(mode="before")
    @classmethod
    def _published_references(cls, values: Any) -> Any:
        asked = values.get("compatibility") if isinstance(values, dict) else None
        return references_as_published(values, asked, "evaluation")

    def problems(self) -> Iterator[Problem]:
        """What the parts find wrong with their own keys, and settings that sample nothing."""
        yield from super().problems()
        yield from unnamed(self.alg.model_name, "alg.model_name")
        yield from (problem.below("alg") for problem in self.alg.problems())
        settings = self.alg.generation_kwargs
        yield from generation_problems(settings, self.alg.model_type, "alg.generation_kwargs")
        if not settings.do_sample:
            yield Problem("must be true: without sampling all outputs of an input are equal",
                          "alg.generation_kwargs.do_sample", False)  # fmt: skip
        yield from problems_of_metrics(self.evaluation.metrics, "evaluation.metrics")

    def ways_to_save_memory(self) -> Iterator[str]:
        """Yield fewer inputs or samples at a time, and narrower weights."""
        evaluation = self.evaluation
        yield memory_hints.smaller("evaluation.eval_batch_size", evaluation.eval_batch_size)
        if self.alg.policy.dtype == "float32":
            yield "set 'alg.policy.dtype' to 'bfloat16'"

    def notices(self) -> Iterator[str]:
        """Part of a file name without the file, and one sample, which has no deviation."""
        yield from super().notices()
        if self.evaluation.num_samples_per_input == 1:
            yield (
                "'evaluation.num_samples_per_input' = 1: one sample has no standard deviation, so "
                "that those of 'reward_stats' are null; give 2 or more"
            )
        if self.output_file_suffix and not self.published_format:
            yield "'output_file_suffix' names a file that 'published_format': true writes"
