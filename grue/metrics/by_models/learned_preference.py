"""What a trained reward model says of an output."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from common.config.fit import PositiveInt
from common.errors import UserError
from grue.metrics.metric import METRICS, Metric, Scores
from grue.models.config import ModelName, Side
from grue.scorers.options import ScorerArgs
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.scorers.reward_model import RewardModel

REWARD = "semantic/learned_preference"
STD = "semantic/learned_preference_std"


class LearnedPreferenceArgs(ScorerArgs):
    """The keys of a learned preference."""

    model_name: ModelName
    """Reward model: a reference such as ``"@rm.model"``, a folder, or a hub id. A metric of a run
    whose reward is this too takes the reward's keys where it names no model."""
    output: Literal["score", "ratings"] | None = None
    """What the logits of a sequence classifier from elsewhere are: one score, or the distribution
    of a rating from 1 on. None for models of the experiment ``reward_model``, which know it."""
    prompt_prefix: str = ""
    """Text that the policy's prompts begin with and the reward model does not read."""
    prompt_suffix: str = ""
    """Text that the policy's prompts end with, likewise."""
    max_length: PositiveInt | None = None
    """Most tokens that the reward model reads; None for as many as in its training, or else as it
    can."""
    truncation_side: Side = "left"
    """Where longer texts are cut."""
    repeat_prompt: bool = False
    """Whether the reward model reads the prompt, a line break, and the prompt with the output, as
    in published runs of REINFORCE; otherwise prompt and output once."""
    sigmoid: bool = False
    """Whether the reward is the sigmoid of the score, from 0 to 1."""


@METRICS.register("learned_preference")
class LearnedPreference(Metric[LearnedPreferenceArgs]):
    """The reward of an output, and its std by a model that gives a distribution of ratings.

    The reward model reads prompt and output as text with its own tokenizer, joined as in its
    training. The prompt is whole, whatever the policy saw of it.
    """

    Args = LearnedPreferenceArgs

    def prepare(self) -> None:
        """Looks at a local model's files."""
        from grue.scorers.reward_model import check_reward_folder

        check_reward_folder(self.args.model_name, "model_name", self.args.output)

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """[N] rewards, and [N] stds where the model gives them."""
        args = self.args
        prompts = [
            prompt.removeprefix(args.prompt_prefix).removesuffix(args.prompt_suffix)
            for prompt in texts.prompts
        ]
        outputs = texts.outputs
        if args.repeat_prompt:
            outputs = [prompt + output for prompt, output in zip(prompts, outputs, strict=True)]
            prompts = [f"{prompt}\n" for prompt in prompts]
        means, stds = self._model.moments(prompts, outputs)
        if self._model.spec.output == "ratings":
            return {REWARD: means, STD: stds}
        return {REWARD: 1 / (1 + np.exp(-means)) if args.sigmoid else means}

    @functools.cached_property
    def _model(self) -> RewardModel:
        from grue.scorers.reward_model import load_reward_model

        args = self.args
        model = load_reward_model(
            args.model_name,
            "model_name",
            args,
            args.output,
            max_length=args.max_length,
            truncation_side=args.truncation_side,
        )
        if args.sigmoid and model.spec.output == "ratings":
            raise UserError(
                f"'sigmoid' = true: '{args.model_name}' gives the distribution of a rating; leave "
                "it out"
            )
        return model
