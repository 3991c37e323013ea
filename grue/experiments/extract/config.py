"""Keys of an extraction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Discriminator, Field, Strict, Tag, model_validator

from common.config.base import (
    LATER,
    NO_EFFECT,
    Config,
    OptionalText,
)
from common.config.distinct import Distinct
from common.config.fit import NonNegativeFloat, PositiveInt
from common.config.hub_revision import FromHub
from common.errors import Problem
from grue.experiments import memory_hints
from grue.metrics.config import measure
from grue.models.config import ModelName, ModelOptions, ModelType, unnamed
from grue.policies.generation_config import GenerationConfig, generation_problems
from grue.policies.server.config import ServerConfig, problems_of_sampling
from grue.rewards.config import RewardConfig
from grue.rl.expected_gradient import FEWEST_OUTPUTS
from grue.runs.compatibility import OfReferences, references_as_published
from grue.runs.config import Metrics, TextConfig, problems_of_metrics, renamed
from grue.tasks.task import Split

GroupSizes = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Strict(False), Distinct()]


class ExtractAlg(FromHub):
    """Model whose outputs are sampled."""

    model_type: ModelType
    """Architecture of the model: causal, or encoder-decoder."""
    model_name: ModelName
    """The model."""
    generation_kwargs: GenerationConfig
    """Generation settings of the outputs."""
    policy: ModelOptions = Field(default_factory=ModelOptions)
    """Initial weights, type and adapters of the model."""


class ServedAlg(Config):
    """Model whose outputs a server samples."""

    server: ServerConfig
    """Server that has the model."""
    model_name: str
    """Name of the model at the server."""
    generation_kwargs: GenerationConfig
    """Generation settings of the outputs: those that the protocol knows."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the server's keys, and of settings that it does not know."""
        yield from super().problems()
        yield from (problem.below("server") for problem in self.server.problems())
        unknown = problems_of_sampling(self.generation_kwargs)
        yield from (problem.below("generation_kwargs") for problem in unknown)


def _tag(alg: Any) -> str:
    has_server = "server" in alg if isinstance(alg, dict) else hasattr(alg, "server")
    return "served" if has_server else "own"


class _ByServer:
    """Note on ``alg`` that finds the model for messages about its keys."""

    def chosen(self, value: Any) -> type[Config]:
        """Return the model of a server's keys if one is given."""
        return ServedAlg if _tag(value) == "served" else ExtractAlg


if TYPE_CHECKING:
    AnyExtractAlg = ExtractAlg | ServedAlg
else:
    AnyExtractAlg = Annotated[
        Annotated[ExtractAlg, Tag("own")] | Annotated[ServedAlg, Tag("served")],
        Discriminator(_tag),
        _ByServer(),
    ]


class Evaluation(Config):
    """Samples and metrics of the reward sampling."""

    eval_batch_size: PositiveInt
    """Number of inputs whose outputs are sampled together; a server is asked for all of them, as
    many at a time as ``alg.server.concurrency`` says."""
    split: Annotated[Split, LATER] = "train"
    """Split whose inputs are sampled."""
    num_samples_per_input: PositiveInt = 10
    """Number of samples of each input, K."""
    metrics: Metrics = ()
    """Metrics of each sample; without ``reward_fn`` the first is the reward in figures."""
    ddof: Annotated[int, Field(ge=0, le=1)] = 1
    """Correction of each input's reward std: squared deviations are divided by K - 1 for 1, by K
    for 0."""
    zero_tol: NonNegativeFloat | None = None
    """Largest difference between an input's rewards at which its std counts as zero; None for a
    millionth of the input's largest absolute reward, which is more than rounding."""
    low_std: NonNegativeFloat = 0.01
    """Reward std below which an input counts as low, in units of the reward."""
    group_sizes: GroupSizes = (2, 4, 8)
    """Group sizes for which the share of inputs without deviation is estimated, and pass@k of
    rewards that are 0 or 1; at most K. With one sample and no size, outputs alone are
    wanted."""
    group_by: Annotated[OptionalText, LATER] = None
    """Metadata of inputs, such as ``difficulty``, each value of which gets statistics of its own;
    None (or the empty string) for none."""
    sampler: Literal["own", "generate"] = "own"
    """Decoder: the project's loop (``own``), or the library's (``generate``)."""
    gradients: Annotated[bool, LATER] = False
    """If true, the squared norm of each input's expected gradient is estimated without bias, with
    its standard error: one backward pass per different output. Needs outputs of the whole
    distribution, without filters, and 4 samples or more."""
    sample_cache: Annotated[OptionalText, NO_EFFECT] = None
    """Folder that keeps outputs, and the gradients' products, by model, prompt and sampling
    settings. A run with another reward takes them from there. A server's model is known by its
    name and the server's address alone. Outputs of the library's decoder depend on the whole batch
    and cannot be kept. None (or the empty string) for no cache."""


def _filters(settings: GenerationConfig) -> Iterator[tuple[str, Any, str]]:
    """Yield keys, values and fixes of settings that forbid tokens or change their probabilities."""
    if settings.top_k:
        yield "top_k", settings.top_k, "set it to 0"
    if settings.top_p < 1:
        yield "top_p", settings.top_p, "set it to 1"
    if settings.min_length:
        yield "min_length", settings.min_length, "set it to 0"
    if settings.num_beams > 1:
        yield "num_beams", settings.num_beams, "set it to 1"
    for key, value in settings.further.items():
        yield key, value, "leave it out"


class ExtractConfig(TextConfig):
    """Sampling of a model's outputs for the inputs of a split, with their rewards."""

    alg: AnyExtractAlg
    """Model whose outputs are sampled, by this program or by a server."""
    evaluation: Evaluation
    """Samples and metrics of the reward sampling."""
    reward_fn: Annotated[RewardConfig | None, LATER] = None
    """Reward of each sample, as finetuning takes it. It is the metric ``reward``, the first one;
    the rewards that a ``weighted_sum`` adds are ``reward_parts/<name>``."""
    compatibility: OfReferences = ()
    """Behaviours of RL4LMs to reproduce, by name or as ``rl4lms``: ``stringify_references`` for all
    metrics that have this key and do not give it."""
    published_format: bool = False
    """If true, the published dictionary is written too, by ``torch.save``."""
    output_path: Annotated[OptionalText, NO_EFFECT] = None
    """Published name of ``outputs_dir``, which takes precedence if both are given."""
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

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits of the task that the run reads."""
        return (self.evaluation.split,)

    def rewards_by_key(self) -> Iterator[tuple[str, RewardConfig]]:
        """Yield the rewards of samples, with their keys."""
        if self.reward_fn is not None:
            yield "reward_fn", self.reward_fn

    def logs(self, metric: str) -> bool | None:
        """Return whether samples have a metric; None if a user's metric does not tell its names."""
        more = ["reward", "reward_parts/*"] if self.reward_fn is not None else []
        return measure(self.evaluation.metrics, metric, more)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the parts' keys, and of settings that sample nothing."""
        yield from super().problems()
        yield from unnamed(self.alg.model_name, "alg.model_name")
        yield from (problem.below("alg") for problem in self.alg.problems())
        yield from self._of_sampler()
        settings = self.alg.generation_kwargs
        if not settings.do_sample:
            yield Problem("must be true: without sampling all outputs of an input are equal",
                          "alg.generation_kwargs.do_sample", False)  # fmt: skip
        yield from problems_of_metrics(self.evaluation.metrics, "evaluation.metrics")
        rewards = dict(self.rewards_by_key())
        for key, reward in rewards.items():
            yield from (problem.below(key) for problem in reward.problems())
        if not rewards and not self.evaluation.metrics:
            yield Problem("nothing is measured; name a metric, or a 'reward_fn'",
                          "evaluation.metrics", [])  # fmt: skip
        yield from self._problems_of_gradients()
        if self.published_format and self.evaluation.split != "train":
            yield Problem("the published dictionary is one of training inputs; leave out "
                          "'published_format', or sample those",
                          "evaluation.split", self.evaluation.split)  # fmt: skip

    def _problems_of_gradients(self) -> Iterator[Problem]:
        """Yield the problems of samples that say nothing of the expected gradient."""
        evaluation, settings = self.evaluation, self.alg.generation_kwargs
        if not evaluation.gradients or isinstance(self.alg, ServedAlg):
            return
        if evaluation.num_samples_per_input < FEWEST_OUTPUTS:
            yield Problem(f"'evaluation.gradients' needs at least {FEWEST_OUTPUTS}; raise it",
                          "evaluation.num_samples_per_input",
                          evaluation.num_samples_per_input)  # fmt: skip
        needed = "'evaluation.gradients' needs outputs of the whole distribution"
        for key, value, fix in _filters(settings):
            yield Problem(f"{needed}; {fix}", f"alg.generation_kwargs.{key}", value)

    def _of_sampler(self) -> Iterator[Problem]:
        """Yield the problems of keys that the program's own sampler needs, or a server lacks."""
        settings, key = self.alg.generation_kwargs, "alg.generation_kwargs"
        if isinstance(self.alg, ExtractAlg):
            yield from generation_problems(settings, self.alg.model_type, key)
            if self.tokenizer is None:
                yield Problem("this key is required", "tokenizer")
            yield from self._of_library()
            return
        yield from (problem.below(key) for problem in settings.problems())
        if self.tokenizer is not None:
            yield Problem("the server has the model's tokenizer; take it out", "tokenizer",
                          self.tokenizer.model_name)  # fmt: skip
        if self.evaluation.sampler != "own":
            yield Problem("is a decoder of this program; take it out", "evaluation.sampler",
                          self.evaluation.sampler)  # fmt: skip
        if self.evaluation.gradients:
            yield Problem("gradients are those of a model that this program has, and a server "
                          "gives outputs alone; take it out", "evaluation.gradients",
                          True)  # fmt: skip

    def _of_library(self) -> Iterator[Problem]:
        """Yield the problem of a cache of outputs that depend on which others it lacks."""
        evaluation = self.evaluation
        by_library = evaluation.sampler == "generate" or self.alg.generation_kwargs.needs_library
        if by_library and evaluation.sample_cache is not None:
            yield Problem("keeps outputs input by input, and those of the library's decoder depend "
                          "on the whole batch; take it out, or sample with 'evaluation.sampler' = "
                          "'own', without beams and other settings of the library",
                          "evaluation.sample_cache", evaluation.sample_cache)  # fmt: skip

    def ways_to_save_memory(self) -> Iterator[str]:
        """Yield advice against a lack of memory: smaller batches, and narrower weights."""
        evaluation, alg = self.evaluation, self.alg
        yield memory_hints.smaller("evaluation.eval_batch_size", evaluation.eval_batch_size)
        if isinstance(alg, ExtractAlg) and alg.policy.dtype == "float32":
            yield "set 'alg.policy.dtype' to 'bfloat16'"

    def notices(self) -> Iterator[str]:
        """Yield notices on an unused part of a file name, and on a single sample per input."""
        yield from super().notices()
        if self.evaluation.num_samples_per_input == 1 and self.evaluation.group_sizes:
            yield (
                "'evaluation.num_samples_per_input' = 1: one sample has no standard deviation, so "
                "that those of 'reward_stats' are null; give 2 or more, or "
                "'evaluation.group_sizes' = [] if outputs alone are wanted"
            )
        if self.output_file_suffix and not self.published_format:
            yield "'output_file_suffix' names a file that 'published_format': true writes"
