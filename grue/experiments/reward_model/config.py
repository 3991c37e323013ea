"""Keys of a run that trains a reward model on preferences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from common.config.base import Config
from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.config.hub_revision import FromHub
from common.errors import Problem
from grue.experiments import memory_hints
from grue.models.config import ModelName, ModelType, Optimizer, TrainedModelOptions, unnamed
from grue.policies.generation_config import GenerationConfig, generation_problems
from grue.runs.config import TrackedConfig
from grue.supervised.config import notices_of_warmup, of_batches
from grue.tasks.config import DatapoolConfig
from grue.tasks.task import Split


class BestOfNLoss(Config):
    """Cross-entropy of the preferred one of n responses, 4 in arXiv 1909.08593."""

    id: Literal["best_of_n"]
    """Id of the loss."""


class PairwiseLoss(Config):
    """Logistic loss of the difference between the chosen and the rejected response.

    With more than two responses, the preferred one makes a pair with each other one.
    """

    id: Literal["pairwise"]
    """Id of the loss."""
    margin: Literal["paired", "broadcast", "none"] = "paired"
    """Margin by which the chosen response's score should be larger: the difference of the pair's
    ratings, the differences of all pairs in the batch (as in trl 0.14), or none."""
    centring: NonNegativeFloat = 0.0
    """Weight of the squared sum of a pair's scores."""


class ScalarRatingLoss(Config):
    """Squared error of the score as prediction of a response's rating."""

    id: Literal["scalar_rating"]
    """Id of the loss."""


class ScalarCompareLoss(Config):
    """Squared error of the difference of two scores as prediction of that of two ratings."""

    id: Literal["scalar_compare"]
    """Id of the loss."""


class ProbabilisticLoss(Config):
    """-log P(the chosen response is rated higher), for distributions of a rating 1 ... k."""

    id: Literal["probabilistic"]
    """Id of the loss."""
    num_ratings: Annotated[int, Field(ge=2)] = 10
    """Largest rating, k, which is the number of the model's logits."""


AnyLoss = Annotated[
    BestOfNLoss | PairwiseLoss | ScalarRatingLoss | ScalarCompareLoss | ProbabilisticLoss,
    Field(discriminator="id"),
]


class RewardModelAlg(FromHub, TrainedModelOptions):
    """Reward model, and the settings of its training."""

    id: Literal["reward_model"] = "reward_model"
    """Id of the objective: learning from preferences."""
    model_name: ModelName
    """Initial model, a causal one or one that classifies texts: hub id, folder, or a reference such
    as ``"@sft.model"``. A new layer replaces its head."""
    loss: AnyLoss
    """Loss, which also determines the labels that are needed and the model's output."""
    head_std: PositiveFloat | None = None
    """Standard deviation of the new layer's initial weights; None for 1 / sqrt(width + 1). Its
    biases start at 0."""
    dropout: bool = False
    """If true, the model drops activations in training, as its own configuration says."""
    training_args: dict[str, Any] = Field(default_factory=dict)
    """Arguments of the transformers Trainer."""
    optimizer: Optimizer = "adamw"
    """Form of Adam: PyTorch's, or TensorFlow's, which adds ``adam_epsilon`` before the bias
    correction of the second moment and so starts with smaller steps."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of a model that is not named, and of two optimizers."""
        yield from super().problems()
        if self.optimizer != "adamw" and "optim" in self.training_args:
            yield Problem("contradicts 'training_args.optim'; give one of them", "optimizer",
                          self.optimizer)  # fmt: skip
        yield from unnamed(self.model_name, "model_name", below="alg.")
        given = [name for name in ("bf16", "fp16") if self.training_args.get(name)]
        if given and self.mixed_precision != "no":
            yield Problem(f"contradicts 'mixed_precision' = '{self.mixed_precision}'; drop one "
                          "of them", f"training_args.{given[0]}", True)  # fmt: skip


class NormalizeConfig(FromHub):
    """Normalisation of the rewards of a reference policy's outputs to mean 0 and std 1.

    Its outputs for training prompts are sampled once, complete and unfiltered.
    """

    model_name: ModelName
    """Reference policy, which is never the trained model."""
    model_type: ModelType = "causal"
    """Architecture of the reference policy: causal, or encoder-decoder."""
    generation_kwargs: GenerationConfig
    """Generation settings of its outputs."""
    datapool: DatapoolConfig | None = None
    """Task with its prompts, such as the queries that the policy will be trained on; None for the
    prompts of the training preferences."""
    num_samples: Annotated[int, Field(ge=2)] = 256
    """Number of outputs, each for a prompt of its own as far as there are as many."""
    batch_size: PositiveInt = 64
    """Number of prompts whose outputs are sampled together."""
    prompt_prefix: str = ""
    """Text before a prompt that the policy reads, and the reward model does not. It is tokenized
    separately from the prompt."""
    prompt_suffix: str = ""
    """Text after a prompt, likewise, such as ``"\\n\\nTL;DR:"``."""
    max_prompt_length: PositiveInt | None = None
    """Largest number of tokens of a prompt, the last ones; None for as many as fit."""
    before: bool = True
    """If true, rewards are normalised before training; for losses of ratings or differences, to the
    mean and standard deviation of the labels (of half the differences)."""
    after: bool = True
    """If true, rewards are normalised after training."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of a missing model, and of impossible generation settings."""
        yield from super().problems()
        yield from unnamed(self.model_name, "model_name", below="normalize.")
        yield from generation_problems(self.generation_kwargs, self.model_type, "generation_kwargs")
        if self.datapool is not None:
            yield from (problem.below("datapool") for problem in self.datapool.problems())
        if self.generation_kwargs.truncate_token is not None:
            yield Problem("the outputs that rewards are normalised by are whole; drop it",
                          "generation_kwargs.truncate_token",
                          self.generation_kwargs.truncate_token)  # fmt: skip
        if not self.generation_kwargs.do_sample:
            yield Problem("must be true: the outputs are samples", "generation_kwargs.do_sample",
                          False)  # fmt: skip


class RewardModelConfig(TrackedConfig):
    """Training of a reward model on a task's preferences.

    ``tokenizer.max_length`` is the largest number of tokens of prompt and response together.
    """

    alg: RewardModelAlg
    """Reward model, and the settings of its training."""
    separator: str = " "
    """Separator between prompt and response, if neither has white space there."""
    too_long: Literal["cut", "drop"] = "cut"
    """Treatment of texts with too many tokens: the last tokens are read, or training and validation
    drop all responses to a prompt with such a text."""
    normalize: NormalizeConfig | None = None
    """Normalisation of rewards; None keeps them unchanged."""
    eval_batch_size: PositiveInt = 64
    """Number of texts that are scored together in evaluations."""

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits of the task that the run reads."""
        return ("train", "val")

    def ways_to_save_memory(self) -> Iterator[str]:
        """Yield advice against a lack of memory: smaller batches, then model options."""
        yield from memory_hints.of_batches(self.alg.training_args)
        yield memory_hints.smaller("eval_batch_size", self.eval_batch_size)
        if self.normalize is not None:
            yield memory_hints.smaller("normalize.batch_size", self.normalize.batch_size)
        yield from memory_hints.of_adapters(self.alg, "alg")
        if any(memory_hints.of_narrow_training(self.alg.training_args)):
            yield from memory_hints.of_narrow_products(self.alg, "alg")

    @property
    def tf32(self) -> bool:
        """True if the Trainer's argument of that name is set."""
        return bool(self.alg.training_args.get("tf32"))

    def problems_of_ranks(self, num_ranks: int) -> Iterator[Problem]:
        """Yield why ranks cannot share the run: too small batches, or a loss that couples them."""
        yield from of_batches(self.alg.training_args, num_ranks)
        loss = self.alg.loss
        if isinstance(loss, PairwiseLoss) and loss.margin == "broadcast":
            yield Problem("couples all pairs of a batch, which several processes share; give "
                          "'paired' or 'none', or leave 'gpus_per_run' out",
                          "alg.loss.margin", loss.margin)  # fmt: skip

    def notices(self) -> Iterator[str]:
        """Yield notices, including that of a warm-up that does not end."""
        yield from super().notices()
        yield from notices_of_warmup(self.alg.training_args)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the parts' keys, and of a normalisation without effect."""
        yield from super().problems()
        yield from (problem.below("alg") for problem in self.alg.problems())
        yield from self._of_batches()
        if self.normalize is not None:
            yield from (problem.below("normalize") for problem in self.normalize.problems())
            if self.alg.loss.id == "probabilistic" and self.normalize.before:
                yield Problem("must be false: the loss 'probabilistic' does not depend on the "
                              "scale of the reward", "normalize.before", True)  # fmt: skip

    def _of_batches(self) -> Iterator[Problem]:
        """Yield the problem of labels that leave an incomplete batch, as published."""
        given, labels = self.alg.training_args, self.datapool.args.get("num_train")
        size = given.get("per_device_train_batch_size", 8)
        times = given.get("gradient_accumulation_steps", 1)
        if not all(isinstance(number, int) and number > 0 for number in (labels, size, times)):
            return
        if labels % (size * times) and not given.get("dataloader_drop_last", False):
            fewer = labels - labels % (size * times)
            yield Problem(f"is no multiple of 'alg.training_args.per_device_train_batch_size' x "
                          f"'gradient_accumulation_steps' = {size} x {times}; give {fewer}, or set "
                          "'alg.training_args.dataloader_drop_last' to true",
                          "datapool.args.num_train", labels)  # fmt: skip
