"""Score of a trained reward model, which reads prompt and output."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np

from common.config.base import LATER
from common.config.fit import PositiveInt
from common.config.hub_revision import FromHub
from common.errors import Problem, UserError
from grue.metrics.metric import METRICS, Metric, Scores
from grue.models.config import ModelName, Side
from grue.scorers.options import ScorerArgs
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.scorers.reward_model import RewardModel

REWARD = "semantic/learned_preference"
STD = "semantic/learned_preference_std"


class LearnedPreferenceArgs(FromHub, ScorerArgs):
    """Keys of a learned preference."""

    model_name: ModelName
    """Reward model: a reference such as ``"@rm.model"``, a folder, or a hub id. If a metric names
    no model and the run's reward is this one too, or a weighted sum with one such part, it uses the
    reward's keys."""
    output: Literal["score", "ratings"] | None = None
    """Meaning of the logits of a sequence classifier from elsewhere: one score, or the distribution
    of a rating from 1 up. None for models of the experiment ``reward_model``, which record it."""
    prompt_prefix: str = ""
    """Text at the start of the policy's prompts that the reward model does not read."""
    prompt_suffix: str = ""
    """Text at the end of the policy's prompts that the reward model does not read."""
    max_length: PositiveInt | None = None
    """Largest number of tokens that the reward model reads; None for as many as in its training, or
    else as it can."""
    truncation_side: Side = "left"
    """Side on which longer texts are truncated."""
    repeat_prompt: bool = False
    """If true, the reward model reads the prompt, a line break, and the prompt with the output, as
    in published runs of REINFORCE; otherwise the prompt and the output once."""
    sigmoid: bool = False
    """If true, the reward is the sigmoid of the score, from 0 to 1."""
    chat_template: Annotated[bool, LATER] = False
    """If true, the reward model reads prompt and output as messages of a user and an assistant, by
    its own chat template, as most reward models of the hub do."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of two forms of its input."""
        yield from super().problems()
        if self.chat_template and self.repeat_prompt:
            yield Problem("contradicts 'chat_template'; drop one of them", "repeat_prompt", True)


@METRICS.register("learned_preference")
class LearnedPreference(Metric[LearnedPreferenceArgs]):
    """Reward of an output, and its std if the model gives a distribution of ratings.

    The reward model reads prompt and output as text with its own tokenizer, joined as in its
    training. The prompt is not truncated as it may be for the policy.
    """

    names = (REWARD, STD)
    Args = LearnedPreferenceArgs

    def prepare(self) -> None:
        """Check a local model's files."""
        from grue.scorers.reward_model import check_reward_folder

        check_reward_folder(self.args.model_name, "model_name", self.args.output)

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] rewards, and [N] stds if the model gives them."""
        args = self.args
        prompts = [
            prompt.removeprefix(args.prompt_prefix).removesuffix(args.prompt_suffix)
            for prompt in texts.prompts
        ]
        outputs = texts.outputs
        if args.repeat_prompt:
            outputs = [prompt + output for prompt, output in zip(prompts, outputs, strict=True)]
            prompts = [f"{prompt}\n" for prompt in prompts]
        if args.chat_template:
            means, stds = self._model.moments_of_chats(prompts, outputs)
        else:
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
            revision=args.revision,
            max_length=args.max_length,
            truncation_side=args.truncation_side,
        )
        if args.sigmoid and model.spec.output == "ratings":
            raise UserError(
                f"'sigmoid' = true: '{args.model_name}' gives the distribution of a rating; leave "
                "it out"
            )
        return model
