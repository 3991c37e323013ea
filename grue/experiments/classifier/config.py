"""The keys of a run that trains a classifier of texts, such as a learned reward's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field

from common.config.fit import PositiveInt
from common.config.hub import FromHub
from common.errors import Problem
from grue.experiments import memory_hints
from grue.models.config import ModelName, unnamed
from grue.runs.config import TrackedConfig
from grue.tasks.task import Split


class ClassifierAlg(FromHub):
    """Which model learns to classify, and how."""

    id: Literal["classifier"] = "classifier"
    """Maximum likelihood of the labels."""
    model_name: ModelName
    """The model to begin with: hub id, folder, or a reference such as ``"@vocabulary.model"``."""
    init: Literal["pretrained", "random"] = "pretrained"
    """Its own weights below a new layer for the labels, or random ones drawn from ``random_seed``.
    A folder with configuration and tokenizer alone needs ``random``."""
    architecture: dict[str, Any] = Field(default_factory=dict)
    """Sizes that differ from the model's, by the names of its transformers configuration; with
    random weights only."""
    training_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the transformers Trainer."""

    def problems(self) -> Iterator[Problem]:
        """Yield a model that is not named, and sizes that do not fit its weights."""
        yield from super().problems()
        yield from unnamed(self.model_name, "model_name")
        if self.architecture and self.init == "pretrained":
            yield Problem(
                "sizes are those of the weights; set 'alg.init' to 'random', or take it out",
                "architecture",
                self.architecture,
            )


class ClassifierConfig(TrackedConfig):
    """A sequence classifier, trained on a task's texts and the labels in their metadata.

    ``tokenizer.max_length`` is the most tokens of a text, of which a long one keeps the end.
    """

    splits: ClassVar[tuple[Split, ...]] = ("train", "val")

    alg: ClassifierAlg
    """Which model learns to classify, and how."""
    text: Literal["prompt", "reference", "prompt_and_reference"] = "reference"
    """What is classified: an input's prompt, its first reference, or one after the other."""
    label_key: str = "label"
    """Name of the metadata that holds the label: numbers from 0, or names."""
    eval_batch_size: PositiveInt = 64
    """Texts that are classified together in evaluations."""

    def ways_to_save_memory(self) -> Iterator[str]:
        """Smaller batches of updates and evaluations, and narrower products."""
        yield from memory_hints.of_batches(self.alg.training_args)
        yield memory_hints.smaller("eval_batch_size", self.eval_batch_size)
        yield from memory_hints.of_narrow_training(self.alg.training_args)

    @property
    def tf32(self) -> bool:
        """Whether the Trainer's argument of that name asks for it."""
        return bool(self.alg.training_args.get("tf32"))

    def problems(self) -> Iterator[Problem]:
        """What is wrong with the algorithm's keys."""
        yield from super().problems()
        yield from (problem.below("alg") for problem in self.alg.problems())
