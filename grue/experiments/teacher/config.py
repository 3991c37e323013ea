"""Keys of a run that measures reward models as teachers of a policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Strict

from common.config.base import INPUT_FILE, OptionalText
from common.errors import Problem
from grue.experiments.extract.config import ExtractAlg, ExtractConfig
from grue.models.config import TokenizerConfig
from grue.rewards.config import RewardConfig

TRUTH = "ground_truth"
"""Name of the true reward in tables."""


class TeacherReward(RewardConfig):
    """A reward that is measured."""

    name: Annotated[str, Field(pattern=r"^\w[\w. -]*$")]
    """Name of the reward in tables, figures and ``normalization.json``."""


class TeacherConfig(ExtractConfig):
    """Measures of several rewards as teachers of one policy, on outputs that it samples once.

    Where the task's inputs have responses (``preferences``, ``ranked_samples``), rewards are
    compared on these too, off-policy.
    """

    tokenizer: TokenizerConfig
    """Keys of the tokenizer, and the truncation and padding of prompts."""
    alg: ExtractAlg
    """Policy whose outputs are sampled, by this program: a server tells no log-probabilities."""
    ground_truth: RewardConfig
    """True reward, by which outputs are ordered."""
    rewards: Annotated[tuple[TeacherReward, ...], Strict(False), Field(min_length=1)]
    """Rewards that are measured, each with a ``name``: reward models, rewards by a rule, your own,
    or numbers of a table (``precomputed``)."""
    samples: Annotated[OptionalText, INPUT_FILE] = None
    """Table with outputs of the policy that are measured instead of new ones, such as
    ``"@before.samples"``: the columns ``prompt`` and ``output``, as many rows for each prompt as
    ``evaluation.num_samples_per_input``. Where the column ``num_tokens`` tells that
    an output was cut at the largest length, ``log_prob`` has no end of sequence in it; without the
    column, all are taken to have ended. None draws them."""
    preferred: Literal["ground_truth", "data"] = "ground_truth"
    """Preferred one of an input's responses: that of the highest true reward, or the one that the
    data name."""
    ties: Literal["left_out", "later_preferred"] = "left_out"
    """Pairs of samples with equal true rewards: left out, or counted as if the later sample were
    preferred, as published."""

    def rewards_by_key(self) -> Iterator[tuple[str, RewardConfig]]:
        """Yield the true reward, and those that are measured."""
        yield TRUTH, self.ground_truth
        for position, reward in enumerate(self.rewards):
            yield f"rewards[{position}]", reward

    def logs(self, metric: str) -> bool | None:
        """Return None: which rewards have parts, which are measured too, their keys do not tell."""
        return None

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the parts' keys, of equal names, and of single samples."""
        yield from super().problems()
        if self.reward_fn is not None:
            yield Problem("the rewards of this run are 'ground_truth' and 'rewards'; take it out",
                          "reward_fn", self.reward_fn.id)  # fmt: skip
        if self.published_format:
            yield Problem("is for reward sampling; take it out", "published_format", True)
        for name, count in Counter(reward.name for reward in self.rewards).items():
            if count > 1 or name == TRUTH:
                why = f"{count} rewards have it" if count > 1 else "it is that of the true reward"
                yield Problem(f"the name '{name}' is taken: {why}; give each its own", "rewards")
        if self.evaluation.num_samples_per_input < 2:
            yield Problem("outputs of a prompt are compared; give 2 or more",
                          "evaluation.num_samples_per_input",
                          self.evaluation.num_samples_per_input)  # fmt: skip

        if self.samples is not None and self.evaluation.gradients:
            yield Problem("gradients are those of drawn outputs; leave out 'samples', or this key",
                          "evaluation.gradients", True)  # fmt: skip

    def notices(self) -> Iterator[str]:
        """Yield a notice on samples of a part of the policy alone."""
        yield from super().notices()
        settings = self.alg.generation_kwargs
        if self.samples is None and (settings.top_k or settings.top_p < 1):
            yield (
                "'alg.generation_kwargs' filters tokens (top_k or top_p): rewards are those of the "
                "filtered policy, and training samples from the whole one; set top_k to 0 and "
                "top_p to 1"
            )
