"""Keys of ``alg`` in supervised finetuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, model_validator

from common.config.hub_revision import FromHub
from common.errors import Problem
from grue.models.config import ModelName, ModelOptions, ModelType, unnamed
from grue.policies.generation_config import GenerationConfig, generation_problems
from grue.runs.compatibility import OfSupervised, joined_as_published

TRAINER_BATCH = 8
"""Number of examples in a batch of the Trainer, if none is given."""


class SupervisedAlg(FromHub):
    """Maximum likelihood of the references."""

    id: Annotated[str, Field(pattern="supervised")] = "supervised"
    """Id of the algorithm: ``supervised``, to which published files may add."""
    model_type: ModelType
    """Architecture of the model: causal, or encoder-decoder."""
    model_name: ModelName
    """The model to finetune."""
    training_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the transformers Trainer, by their published names."""
    generation_kwargs: GenerationConfig | None = None
    """Generation settings of outputs for training inputs in evaluations; None for those of
    ``train_evaluation``."""
    join_with_blank: bool = True
    """If true, a causal model's prompt and reference are joined by a space, unless one has white
    space there. Published runs joined them without, see ``compatibility``."""
    append_eos: bool = False
    """If true, a causal model learns to end its output; published ones do not."""
    mask_prompt: bool = False
    """If true, a causal model learns the reference alone; published ones learn the prompt too."""
    policy: ModelOptions = Field(default_factory=ModelOptions)
    """Initial weights, type and adapters of the model."""
    compatibility: OfSupervised = ()
    """Behaviours of RL4LMs to reproduce, by name or as ``rl4lms``: ``stringify_references`` for all
    metrics that have this key and do not give it; ``references_without_blank`` for prompts and
    references of causal models that are joined without a blank, unless ``join_with_blank`` is
    given."""

    @model_validator(mode="before")
    @classmethod
    def _published_rows(cls, values: Any) -> Any:
        return joined_as_published(values)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of a missing model, and of impossible generation settings."""
        yield from super().problems()
        yield from unnamed(self.model_name, "model_name", below="alg.")
        if self.generation_kwargs is not None:
            yield from generation_problems(
                self.generation_kwargs, self.model_type, "generation_kwargs"
            )


def notices_of_warmup(training_args: Mapping[str, Any]) -> Iterator[str]:
    """Yield a notice on a warm-up as long as the Trainer's steps, where their number is given."""
    key, most = "warmup_steps", training_args.get("max_steps", -1)
    warmup = training_args.get(key, 0)
    if isinstance(most, int) and isinstance(warmup, int) and 0 < most <= warmup:
        yield str(Problem(f"the run ends within its warm-up, after 'max_steps' = {most}, and never "
                          "reaches 'learning_rate'; lower it", f"alg.training_args.{key}",
                          warmup))  # fmt: skip


def of_batches(training_args: Mapping[str, Any], num_ranks: int) -> Iterator[Problem]:
    """Yield the problem of batches of the Trainer that leave ranks without an example."""
    key = "per_device_train_batch_size"
    size = training_args.get(key, TRAINER_BATCH)
    if isinstance(size, int) and size < num_ranks:
        yield Problem(f"is the batch of all processes, and less than 'gpus_per_run' = {num_ranks}; "
                      "raise it", f"alg.training_args.{key}", size)  # fmt: skip
