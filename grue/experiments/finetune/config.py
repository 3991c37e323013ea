"""The keys of text runs: the published tree of tokenizer, data pool, reward, algorithm, evaluation.

Names and defaults are those of RL4LMs and ml-rlgrad, whose YAML files hold the same tree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, Strict, model_validator

from common.config.base import (
    COUNTS_AS_DEFAULT,
    IGNORED,
    LATER,
    NO_EFFECT,
    Config,
    OptionalText,
    Published,
    Seed,
)
from common.config.fit import NonNegativeFloat, PositiveInt
from common.config.hub import FromHub
from common.config.run import RunConfig
from common.errors import Problem, UserError
from common.packages import lacking
from grue.algorithms import find
from grue.algorithms.config import (
    AnyAlg,
    CustomAlg,
    ReinforceAlg,
    SupervisedAlg,
    of_batches,
    of_generation,
)
from grue.experiments.finetune.rollout_problems import notices_of_rollouts, problems_of_rollouts
from grue.experiments.memory import hints as memory_hints
from grue.experiments.reward_model.as_metric import measured_like_rewarded
from grue.models.config import ModelName, ModelOptions, ModelType, Side, TokenizerConfig, unnamed
from grue.parts.config import MetricConfig, RewardConfig, TaskConfig
from grue.policies.generation_config import GenerationConfig
from grue.runs.compatibility import OfReferences, references_as_published
from grue.tasks.task import Split

Metrics = Annotated[tuple[MetricConfig, ...], Strict(False)]
GroupSizes = Annotated[tuple[Annotated[int, Field(ge=2)], ...], Strict(False)]
Fraction = Annotated[Annotated[float, Field(gt=0, le=1)] | None, Published(-1)]
OptionalCount = Annotated[PositiveInt | None, Published(-1)]
LaterCount = Annotated[PositiveInt | None, Published(-1), LATER]


class DatapoolConfig(TaskConfig):
    """The task, and which of its inputs are used."""

    frac_train_samples: Fraction = None
    """Share of the training inputs, drawn at random; None (or -1) for all."""
    num_train_samples: OptionalCount = None
    """Number of training inputs, drawn at random; None (or -1) for all."""
    num_evaluated_train_samples: LaterCount = None
    """Number of these on which a finetuning run is evaluated, drawn at random; None (or -1) for all
    of them. ``no_eval_on_train_set`` leaves the training split out."""
    num_val_samples: LaterCount = None
    """Number of validation inputs, drawn at random; None (or -1) for all."""
    num_test_samples: LaterCount = None
    """Number of test inputs, drawn at random; None (or -1) for all."""
    train_samples_rnd_seed: Seed = None
    """Seed of all these draws; None (or -1) follows ``random_seed``."""

    def num_samples(self, split: Split) -> int | None:
        """The number of a split's inputs that is asked for; None for all."""
        count: int | None = getattr(self, f"num_{split}_samples")
        return count

    def problems(self) -> Iterator[Problem]:
        """Two sizes of one subset."""
        yield from super().problems()
        if self.frac_train_samples is not None and self.num_train_samples is not None:
            yield Problem("stands beside 'frac_train_samples'; give one of them",
                          "num_train_samples", self.num_train_samples)  # fmt: skip


class TextConfig(RunConfig):
    """What all text runs share."""

    tokenizer: TokenizerConfig
    """The tokenizer, and how prompts are fitted to their length."""
    datapool: DatapoolConfig
    """The task, and which of its inputs are used."""

    splits: ClassVar[tuple[Split, ...]] = ("train",)
    """The splits of the task that the run reads."""

    @property
    def tf32(self) -> bool:
        """As the Trainer's argument of that name says, where the Trainer trains."""
        given = getattr(getattr(self, "alg", None), "training_args", {})
        return bool(given.get("tf32"))

    def problems(self) -> Iterator[Problem]:
        """What the parts find wrong with their own keys."""
        yield from super().problems()
        yield from unnamed(self.tokenizer.model_name, "tokenizer.model_name")
        yield from (problem.below("tokenizer") for problem in self.tokenizer.problems())
        yield from (problem.below("datapool") for problem in self.datapool.problems())


class TrackedConfig(TextConfig):
    """What text runs share that measure a model while it is trained."""

    project_name: Annotated[str, NO_EFFECT] = "rl4lm_exps"
    """Weights & Biases project."""
    entity_name: Annotated[OptionalText, NO_EFFECT] = None
    """Weights & Biases user or team."""
    log_to_wandb: Annotated[bool, NO_EFFECT] = False
    """Whether metrics also go to Weights & Biases."""

    def missing(self) -> Iterator[Problem]:
        """Weights & Biases, if it is asked for."""
        yield from super().missing()
        if self.log_to_wandb:
            yield from lacking("wandb", "log_to_wandb", True)


def _of_metrics(metrics: Metrics, key: str) -> Iterator[Problem]:
    for position, metric in enumerate(metrics):
        yield from (problem.below(f"{key}[{position}]") for problem in metric.problems())


class EnvArgs(Config):
    """Limits of an episode, which is one output."""

    max_episode_length: PositiveInt = 512
    """Most tokens of an output."""
    max_prompt_length: PositiveInt
    """Most tokens of a prompt."""
    terminate_on_eos: Annotated[bool, IGNORED] = False
    """Accepted for published files: end-of-sequence ends an output either way, unless
    ``generation_kwargs.ignore_eos`` is true."""
    prompt_truncation_side: Side = "left"
    """Where long prompts are cut."""
    context_start_token: Annotated[int | None, IGNORED, COUNTS_AS_DEFAULT] = None
    """Accepted for published files: an encoder-decoder model's own first token is taken."""
    penalty_reward_value: float | None = None
    """Reward of an output without ``truncate_token`` where it counts, in place of its own; None
    leaves it its own."""
    priority_scale: Annotated[NonNegativeFloat, IGNORED, COUNTS_AS_DEFAULT] = 0.0
    """Accepted for published files, whose inputs all weigh the same: they are drawn alike."""


class EnvConfig(Config):
    """Where outputs are sampled in reinforcement finetuning."""

    n_envs: PositiveInt = 1
    """Inputs whose outputs are sampled together."""
    args: EnvArgs
    """Limits of an output."""


class TrainEvaluation(Config):
    """How long is trained, and what is measured on the way."""

    eval_batch_size: PositiveInt
    """Inputs whose outputs are generated together in evaluations."""
    n_iters: PositiveInt | None = None
    """Rollouts, each with its update, of reinforcement finetuning."""
    eval_every: PositiveInt | None = None
    """Iterations from one evaluation on the validation split to the next."""
    eval_test_set: bool = False
    """Whether reinforcement finetuning evaluates on the test split as often as on validation, not
    only before and after."""
    save_every: PositiveInt = 20
    """Iterations from one checkpoint, from which a run that was ended can go on, to the next. It
    comes sooner where a minute has passed, and later where writing would take more than a twentieth
    of the time. One is written before a run stops and after the last iteration, too."""
    metrics: Metrics = ()
    """What is measured of outputs."""
    generation_kwargs: GenerationConfig | None = None
    """How outputs are generated in evaluations; None for the algorithm's settings."""

    @property
    def splits_on_the_way(self) -> tuple[Split, ...]:
        """The splits that are evaluated every ``eval_every`` iterations."""
        return ("val", "test") if self.eval_test_set else ("val",)


class FinetuneConfig(TrackedConfig):
    """Finetuning of a language model: by its references or by rewards."""

    splits: ClassVar[tuple[Split, ...]] = ("train", "val", "test")

    experiment_name: Annotated[str, NO_EFFECT] = "rl4lm_experiment"
    """Name of the run; a template such as ``"{random_seed}"``. Its folder begins with it."""
    reward_fn: RewardConfig | None = None
    """What an output is worth, in reinforcement finetuning."""
    env: EnvConfig | None = None
    """Where outputs are sampled, in reinforcement finetuning."""
    alg: AnyAlg
    """Which algorithm finetunes which model."""
    train_evaluation: TrainEvaluation
    """How long is trained, and what is measured on the way."""
    no_eval_on_train_set: bool = False
    """Whether evaluations before and after leave out the training split."""
    log_entire_predictions: Annotated[bool, NO_EFFECT] = False
    """Whether every evaluation writes all outputs, not only ten of them to the log."""
    upload_model_to_wandb: Annotated[bool, NO_EFFECT] = False
    """Whether the finished model is uploaded to Weights & Biases; needs ``log_to_wandb``."""
    base_path_to_store_results: Annotated[OptionalText, NO_EFFECT] = None
    """The published name of ``outputs_dir``, which wins where both are given."""

    @model_validator(mode="before")
    @classmethod
    def _published_folder(cls, values: Any) -> Any:
        return renamed(values, "base_path_to_store_results")

    @model_validator(mode="before")
    @classmethod
    def _published_references(cls, values: Any) -> Any:
        alg = values.get("alg") if isinstance(values, dict) else None
        asked = alg.get("compatibility") if isinstance(alg, dict) else None
        return references_as_published(values, asked, "train_evaluation")

    @model_validator(mode="before")
    @classmethod
    def _metrics_of_reward_models(cls, values: Any) -> Any:
        return measured_like_rewarded(values)

    @property
    def model_type(self) -> ModelType:
        """Whether the model continues its prompt or reads it through an encoder."""
        return self.alg.model_type

    @property
    def evaluation_settings(self) -> GenerationConfig | None:
        """How outputs for the validation and test splits are generated."""
        return self.train_evaluation.generation_kwargs or self.training_settings

    @property
    def training_settings(self) -> GenerationConfig | None:
        """How outputs for the training split are generated."""
        if isinstance(self.alg, SupervisedAlg):
            return self.alg.generation_kwargs or self.train_evaluation.generation_kwargs
        return self.alg.policy.args.generation_kwargs

    def problems(self) -> Iterator[Problem]:
        """Keys that the algorithm needs, and what the parts find wrong with theirs."""
        yield from super().problems()
        yield from (problem.below("alg") for problem in self.alg.problems())
        evaluation = self.train_evaluation
        yield from _of_metrics(evaluation.metrics, "train_evaluation.metrics")
        if self.upload_model_to_wandb and not self.log_to_wandb:
            yield Problem("needs 'log_to_wandb' = true", "upload_model_to_wandb", True)
        if self.reward_fn is not None:
            yield from (problem.below("reward_fn") for problem in self.reward_fn.problems())
            yield from self._reward_without_std()
        if not isinstance(self.alg, SupervisedAlg):
            for key, value in {
                "reward_fn": self.reward_fn,
                "env": self.env,
                "train_evaluation.n_iters": evaluation.n_iters,
                "train_evaluation.eval_every": evaluation.eval_every,
            }.items():
                if value is None:
                    yield Problem(f"'{self.alg.id}' needs this key", key)
            yield from self._of_rollouts()
        settings = self.evaluation_settings
        if settings is None:
            yield Problem("needed here or in 'alg'", "train_evaluation.generation_kwargs")
        elif evaluation.generation_kwargs is not None:
            key = "train_evaluation.generation_kwargs"
            yield from of_generation(settings, self.model_type, key)

    def notices(self) -> Iterator[str]:
        """An entropy bonus that pushes nowhere, and what of rollouts is other than written."""
        yield from super().notices()
        if self.env is not None and not isinstance(self.alg, SupervisedAlg):
            yield from notices_of_rollouts(self.alg, self.env)
        args: Any = getattr(self.alg, "args", None)
        estimated = getattr(args, "enforce_token_entropy_reg_estimate", False)
        if estimated and args.ent_coef != 0:
            yield (
                "'alg.args.enforce_token_entropy_reg_estimate' with 'alg.args.ent_coef' = "
                f"{args.ent_coef}: as published, the estimate's gradient is zero in expectation "
                "while the policy is the one that drew the tokens, so it adds noise alone; without "
                "the key the entropy is exact"
            )

    def ways_to_save_memory(self) -> Iterator[str]:
        """Fewer outputs at a time, smaller batches, then other ways to hold the model."""
        if self.env is not None:
            yield memory_hints.smaller("env.n_envs", self.env.n_envs)
        size = self.train_evaluation.eval_batch_size
        yield memory_hints.smaller("train_evaluation.eval_batch_size", size)
        if isinstance(self.alg, SupervisedAlg):
            yield from memory_hints.of_batches(self.alg.training_args)
            yield from memory_hints.of_narrow_training(self.alg.training_args)
            yield from memory_hints.of_adapters(self.alg.policy, "alg.policy")
        else:
            yield from memory_hints.of_reinforcement(self.alg)

    def problems_of_ranks(self, num_ranks: int) -> Iterator[Problem]:
        """Algorithms that ranks cannot share, and minibatches too small for all of them."""
        if isinstance(self.alg, SupervisedAlg):
            yield from of_batches(self.alg.training_args, num_ranks)
            return
        name: str = self.alg.id  # type: ignore[attr-defined]
        own = isinstance(self.alg, CustomAlg) and not find(name).shares_work
        if self.alg.plain or own:
            yield Problem(f"'alg.id' = '{name}' runs in one process; leave it out of this run's "
                          "configuration, or take another algorithm",
                          "gpus_per_run", num_ranks)  # fmt: skip
        size = getattr(self.alg.args, "batch_size", None)  # type: ignore[attr-defined]
        if size is not None and size < num_ranks:
            yield Problem(f"is less than 'gpus_per_run' = {num_ranks}, so that processes would "
                          "have no token of a minibatch", "alg.args.batch_size", size)  # fmt: skip

    def _of_rollouts(self) -> Iterator[Problem]:
        """Minibatches larger than the rollout, outputs that must be longer than they can."""
        alg, env = self.alg, self.env
        if env is None or isinstance(alg, SupervisedAlg):
            return
        yield from problems_of_rollouts(alg, env)
        settings = alg.policy.args.generation_kwargs
        is_encoder_decoder = self.model_type == "seq2seq"
        fewest = settings.fewest_new_tokens(is_encoder_decoder=is_encoder_decoder)
        if fewest > env.args.max_episode_length:
            yield Problem(
                f"is more than 'env.args.max_episode_length' = {env.args.max_episode_length}",
                "alg.policy.args.generation_kwargs.min_length", settings.min_length,
            )  # fmt: skip

    def _reward_without_std(self) -> Iterator[Problem]:
        """A reward that does not know how sure it is, where that is asked for."""
        if not isinstance(self.alg, ReinforceAlg) or self.reward_fn is None:
            return
        regularization = self.alg.args.advantage_regularization
        with contextlib.suppress(UserError):  # an unknown reward, which is told elsewhere
            if regularization != "none" and not self.reward_fn.find(self.reward_fn.id).gives_std():
                yield Problem(f"the reward '{self.reward_fn.id}' has no standard deviation of its "
                              "own; take 'learned_preference', or \"none\"",
                              "alg.args.advantage_regularization", regularization)  # fmt: skip


class ExtractAlg(FromHub):
    """The model whose outputs are sampled."""

    model_type: ModelType
    """Whether the model continues its prompt or reads it through an encoder."""
    model_name: ModelName
    """The model."""
    generation_kwargs: GenerationConfig
    """How its outputs are sampled."""
    policy: ModelOptions = Field(default_factory=ModelOptions)
    """How the model is held."""


class Evaluation(Config):
    """What is sampled and measured."""

    eval_batch_size: PositiveInt
    """Inputs whose outputs are sampled together."""
    num_samples_per_input: PositiveInt = 10
    """K, the samples of each input."""
    metrics: Annotated[Metrics, Field(min_length=1)]
    """What is measured of each sample; the first is the reward of figures."""
    ddof: Annotated[int, Field(ge=0, le=1)] = 1
    """1 divides squared deviations by K - 1 and 0 by K in each input's reward std."""
    zero_tol: NonNegativeFloat | None = None
    """An input's std counts as zero where its largest and smallest reward differ by at most this;
    None for a millionth of the input's largest absolute reward, which is more than rounding."""
    low_std: NonNegativeFloat = 0.01
    """Reward std below which an input counts as low, in units of the reward."""
    group_sizes: GroupSizes = (2, 4, 8)
    """Group sizes for which the share of inputs without deviation is estimated; at most K."""
    sampler: Literal["own", "generate"] = "own"
    """``own`` decodes with the project's loop, ``generate`` with the library's."""


class ExtractConfig(TextConfig):
    """Samples of a model for training inputs, and what they are worth."""

    alg: ExtractAlg
    """The model whose outputs are sampled."""
    evaluation: Evaluation
    """What is sampled and measured."""
    compatibility: OfReferences = ()
    """Behaviours of RL4LMs to bring back, by name or as ``rl4lms``: ``stringify_references`` for
    all metrics that have this key and do not give it."""
    published_format: bool = False
    """Whether the published dictionary is written too, by ``torch.save``."""
    output_path: Annotated[OptionalText, NO_EFFECT] = None
    """The published name of ``outputs_dir``, which wins where both are given."""
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

    def problems(self) -> Iterator[Problem]:
        """What the parts find wrong with their own keys, and settings that sample nothing."""
        yield from super().problems()
        yield from unnamed(self.alg.model_name, "alg.model_name")
        yield from (problem.below("alg") for problem in self.alg.problems())
        settings = self.alg.generation_kwargs
        yield from of_generation(settings, self.alg.model_type, "alg.generation_kwargs")
        if not settings.do_sample:
            yield Problem("must be true: without sampling all outputs of an input are equal",
                          "alg.generation_kwargs.do_sample", False)  # fmt: skip
        yield from _of_metrics(self.evaluation.metrics, "evaluation.metrics")

    def ways_to_save_memory(self) -> Iterator[str]:
        """Fewer inputs or samples at a time, and narrower weights."""
        evaluation = self.evaluation
        yield memory_hints.smaller("evaluation.eval_batch_size", evaluation.eval_batch_size)
        if self.alg.policy.dtype == "float32":
            yield "set 'alg.policy.dtype' to 'bfloat16'"

    def notices(self) -> Iterator[str]:
        """Part of a file name without the file, and one sample, which has no deviation."""
        yield from super().notices()
        if self.evaluation.num_samples_per_input == 1:
            yield (
                "'evaluation.num_samples_per_input' = 1: one sample has no standard deviation, so "
                "that those of 'reward_stats' are null; give 2 or more"
            )
        if self.output_file_suffix and not self.published_format:
            yield "'output_file_suffix' names a file that 'published_format': true writes"


def renamed(values: Any, published: str) -> Any:
    """The keys, with ``outputs_dir`` as its published name gives it where it is not given."""
    if isinstance(values, dict) and values.get(published) and "outputs_dir" not in values:
        return {**values, "outputs_dir": values[published]}
    return values
