"""The keys of ``alg`` in supervised finetuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from common.config.hub import FromHub
from common.errors import Problem
from grue.models.config import ModelName, ModelOptions, ModelType, unnamed
from grue.policies.generation_config import GenerationConfig, generation_problems
from grue.runs.compatibility import OfSupervised, joined_as_published

TRAINER_BATCH = 8
"""Examples in a batch of the Trainer where nothing is said."""


class SupervisedAlg(FromHub):
    """Maximum likelihood of the references."""

    id: Annotated[str, Field(pattern="supervised")] = "supervised"
    """``supervised``; published files may add to the name."""
    model_type: ModelType
    """Whether the model continues its prompt or reads it through an encoder."""
    model_name: ModelName
    """The model to finetune."""
    training_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the transformers Trainer, by their published names."""
    generation_kwargs: GenerationConfig | None = None
    """How outputs for training inputs are generated in evaluations; None for the settings of
    ``train_evaluation``."""
    join_with_blank: bool = True
    """Whether a causal model's prompt and reference are joined by a blank where neither has one;
    published runs glued them together, see ``compatibility``."""
    append_eos: bool = False
    """Whether a causal model learns to end its output; published ones do not."""
    mask_prompt: bool = False
    """Whether a causal model learns the reference alone; published ones learn the prompt too."""
    policy: ModelOptions = Field(default_factory=ModelOptions)
    """How the model is held."""
    compatibility: OfSupervised = ()
    """Behaviours of RL4LMs to bring back, by name or as ``rl4lms``: ``stringify_references`` for
    all metrics that have this key and do not give it; ``references_without_blank`` for prompts and
    references of causal models that are glued together, unless ``join_with_blank`` is given."""

    @model_validator(mode="before")
    @classmethod
    def _published_rows(cls, values: Any) -> Any:
        return joined_as_published(values)

    def problems(self) -> Iterator[Problem]:
        """A model that is not named, and generation that cannot be."""
        yield from super().problems()
        yield from unnamed(self.model_name, "model_name", below="alg.")
        if self.generation_kwargs is not None:
            yield from generation_problems(
                self.generation_kwargs, self.model_type, "generation_kwargs"
            )


def of_batches(training_args: Mapping[str, Any], num_ranks: int) -> Iterator[Problem]:
    """Batches of the Trainer that leave ranks without an example."""
    key = "per_device_train_batch_size"
    size = training_args.get(key, TRAINER_BATCH)
    if isinstance(size, int) and size < num_ranks:
        yield Problem(f"is the batch of all processes, and less than 'gpus_per_run' = {num_ranks}; "
                      "raise it", f"alg.training_args.{key}", size)  # fmt: skip
