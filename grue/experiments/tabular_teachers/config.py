"""Keys of a study of reward models that train a tabular policy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Strict

from common.config.base import Config
from common.config.distinct import Distinct
from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.config.run import RunConfig
from common.errors import Problem

Share = Annotated[float, Field(ge=0, le=1)]
_Std = Annotated[float, Field(ge=0, le=1e6)]
Numbers = Annotated[tuple[_Std, ...], Strict(False), Field(min_length=1), Distinct()]
Error = Literal["hacking", "stalling", "benign", "beneficial"]


class NoisyRewards(Config):
    """Reward models of chosen accuracy and variance: true rewards with noise and offsets.

    The true reward is a weighted sum of a normal number of each output and one of each prompt, with
    variance 1. A model's reward is the same number of the output, plus ``noise`` times another one,
    brought to variance 1 and to mean 0 under the policy for each prompt, plus ``offset`` times a
    number of the prompt. So noise changes accuracy alone, and offsets the normalised variance
    alone. There is a model for each pair of both; the true reward itself, and the true reward
    scaled for a share of prompts, are two more.
    """

    kind: Literal["noisy"] = "noisy"
    """Kind of the reward models."""
    logits_std: PositiveFloat = 1.2
    """Standard deviation of the initial policy's logits."""
    between_share: Share = 0.65
    """Share of the true reward's variance that is between prompts."""
    truth_mean: float = 0.0
    """Mean of the true reward."""
    noise: Numbers = (0.0, 0.5, 1.0, 2.0)
    """Stds of the outputs' noise, which lowers accuracy and not the normalised variance."""
    offset: Numbers = (0.3, 1.0, 2.5)
    """Stds of the prompts' offsets, which lower the normalised variance and not the accuracy."""
    scaled_share: Share = 0.5
    """Share of prompts on which the scaled true reward is multiplied by ``scaled_factor``."""
    scaled_factor: float = 0.001
    """Factor of the true reward on these prompts."""


class RewardsWithErrors(Config):
    """Reward models with random rates of chosen errors.

    A prompt has a best output (true reward 1), a mediocre one (0.8) with half of the probability,
    and bad ones (-1 to -0.5). An error occurs on a prompt with the model's rate, drawn from 0 to 1.
    A bad output is rewarded like the best one (``hacking``) or like the mediocre one
    (``stalling``); the bad ones' rewards change places (``benign``); the mediocre one is rewarded
    like the worst (``beneficial``), see arXiv 2604.25872.
    """

    kind: Literal["errors"]
    """Kind of the reward models."""
    errors: Annotated[tuple[Error, ...], Strict(False), Field(min_length=1), Distinct()]
    """Errors that occur."""
    num_models: Annotated[int, Field(ge=3)] = 40
    """Number of reward models."""
    best_probability: Annotated[tuple[Share, Share], Strict(False)] = (0.03, 0.15)
    """Smallest and largest probability of a prompt's best output at the start."""


class TabularTeachersConfig(RunConfig):
    """Policy gradient of a tabular policy by each of many reward models, from one start."""

    num_prompts: Annotated[int, Field(ge=2)] = 300
    """Number of prompts, N."""
    num_outputs: Annotated[int, Field(ge=4)] = 24
    """Number of outputs of a prompt, each with a logit of its own."""
    reward_models: Annotated[NoisyRewards | RewardsWithErrors, Field(discriminator="kind")] = Field(
        default_factory=NoisyRewards
    )
    """Reward models that are compared."""
    num_measured_samples: Annotated[int, Field(ge=2)] = 10
    """Number of outputs per prompt, drawn at the start, on which reward models are measured."""
    normalize: bool = True
    """If true, rewards are normalised by mean and std over the measured outputs before training."""
    num_samples_per_input: Annotated[int, Field(ge=0)] = 2
    """Number of outputs, K, of a prompt in an update, with the mean of the others as baseline; 0
    for the exact expected gradient of all prompts."""
    prompts_per_update: PositiveInt = 50
    """Number of prompts in a sampled update."""
    num_updates: PositiveInt = 600
    """Number of updates."""
    learning_rate: PositiveFloat = 0.5
    """Step size of a prompt's logits."""
    kl_coefficient: NonNegativeFloat = 0.05
    """Weight of the KL divergence from the start, which is subtracted from rewards."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of numbers that leave nothing to compare."""
        yield from super().problems()
        if self.num_samples_per_input == 1:
            yield Problem("the mean of no other output is no baseline; give 2 or more, or 0 for "
                          "exact gradients", "num_samples_per_input", 1)  # fmt: skip
        if self.num_samples_per_input and self.prompts_per_update > self.num_prompts:
            yield Problem(f"there are only 'num_prompts' = {self.num_prompts}",
                          "prompts_per_update", self.prompts_per_update)  # fmt: skip
        models = self.reward_models
        if isinstance(models, RewardsWithErrors):
            low, high = models.best_probability
            if not 0 < low <= high < 0.5:
                yield Problem("must be [smallest, largest], above 0 and below 0.5, because the "
                              "mediocre output has 0.5", "reward_models.best_probability",
                              list(models.best_probability))  # fmt: skip
