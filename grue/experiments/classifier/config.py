"""Keys of a run that trains a classifier of texts, such as a learned reward's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from common.config.fit import PositiveInt
from common.config.hub_revision import FromHub
from common.errors import Problem
from grue.experiments import memory_hints
from grue.models.config import ModelName, unnamed
from grue.runs.config import TrackedConfig
from grue.supervised.config import notices_of_warmup
from grue.tasks.task import Split


class ClassifierAlg(FromHub):
    """Model of the classifier, and the settings of its training."""

    id: Literal["classifier"] = "classifier"
    """Id of the objective: maximum likelihood of the labels."""
    model_name: ModelName
    """Initial model: hub id, folder, or a reference such as ``"@vocabulary.model"``."""
    init: Literal["pretrained", "random"] = "pretrained"
    """Initial weights below a new layer for the labels: the model's own, or random ones drawn from
    ``random_seed``. A folder with only configuration and tokenizer needs ``random``."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """Sizes that differ from the model's, by the names of its transformers configuration; with
    random weights only."""
    training_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the transformers Trainer."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of a missing model, and of sizes that do not fit its weights."""
        yield from super().problems()
        yield from unnamed(self.model_name, "model_name")
        if self.architecture and self.init == "pretrained":
            yield Problem(
                "sizes are those of the weights; set 'alg.init' to 'random', or take it out",
                "architecture",
                self.architecture,
            )


class ClassifierConfig(TrackedConfig):
    """Training of a sequence classifier on a task's texts and the labels in their metadata.

    ``tokenizer.max_length`` is the largest number of tokens of a text; longer texts are truncated
    at their beginning.
    """

    alg: ClassifierAlg
    """Model of the classifier, and the settings of its training."""
    text: Literal["prompt", "reference", "prompt_and_reference"] = "reference"
    """Text to classify: an input's prompt, its first reference, or the prompt followed by the
    reference."""
    label_key: str = "label"
    """Name of the metadata with the label: numbers from 0, or names."""
    eval_batch_size: PositiveInt = 64
    """Number of texts that are classified together in evaluations."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits of the task that the run reads."""
        return ("train", "val")

    def ways_to_save_memory(self) -> Iterator[str]:
        """Yield advice against a lack of memory: smaller batches, and narrower products."""
        yield from memory_hints.of_batches(self.alg.training_args)
        yield memory_hints.smaller("eval_batch_size", self.eval_batch_size)
        yield from memory_hints.of_narrow_training(self.alg.training_args)

    @property
    def tf32(self) -> bool:
        """True if the Trainer's argument of that name is set."""
        return bool(self.alg.training_args.get("tf32"))

    def notices(self) -> Iterator[str]:
        """Yield notices, including that of a warm-up that does not end."""
        yield from super().notices()
        yield from notices_of_warmup(self.alg.training_args)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the algorithm's keys."""
        yield from super().problems()
        yield from (problem.below("alg") for problem in self.alg.problems())
