"""The keys of text runs: the published tree of tokenizer, data pool, reward, algorithm, evaluation.

Names and defaults are those of RL4LMs and ml-rlgrad, whose YAML files hold the same tree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

from pydantic import ModelWrapValidatorHandler, model_validator

from common.config.base import (
    NO_EFFECT,
    Config,
    OptionalText,
)
from common.config.fit import PositiveInt
from common.custom.user_code import CUSTOM
from common.errors import Problem, UserError
from grue.algorithms import find
from grue.algorithms.any_alg import BUILT_IN, AnyReinforcementAlg
from grue.experiments import memory_hints
from grue.experiments.finetune.any_alg import SUPERVISED, AnyAlg, tag
from grue.experiments.finetune.rollout_problems import notices_of_rollouts, problems_of_rollouts
from grue.experiments.reward_model.as_metric import measured_like_rewarded
from grue.models.config import ModelType
from grue.policies.generation_config import GenerationConfig, generation_problems
from grue.rewards.config import RewardConfig
from grue.rollouts.config import EnvConfig
from grue.runs.compatibility import references_as_published
from grue.runs.config import Metrics, TrackedConfig, problems_of_metrics, renamed
from grue.supervised.config import SupervisedAlg, of_batches
from grue.tasks.task import Split


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
    """A metric: its id and its own keys."""
    generation_kwargs: GenerationConfig | None = None
    """How outputs are generated in evaluations; None for the algorithm's settings."""

    @property
    def splits_on_the_way(self) -> tuple[Split, ...]:
        """The splits that are evaluated every ``eval_every`` iterations."""
        return ("val", "test") if self.eval_test_set else ("val",)


class ReinforcementEvaluation(TrainEvaluation):
    """The same of reinforcement finetuning, which counts in iterations."""

    n_iters: PositiveInt
    """Rollouts, each with its update."""
    eval_every: PositiveInt
    """Iterations from one evaluation on the validation split to the next."""


class FinetuneConfig(TrackedConfig):
    """Finetuning of a language model: by its references or by rewards.

    These are the keys of both, in the published tree; ``alg.id`` decides which of the two kinds
    below a configuration is.
    """

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
    """Whether the finished model is uploaded to Weights & Biases; needs ``log_to_wandb`` or
    ``use_wandb``."""
    base_path_to_store_results: Annotated[OptionalText, NO_EFFECT] = None
    """The published name of ``outputs_dir``, which wins where both are given."""

    @model_validator(mode="wrap")
    @classmethod
    def _of_its_kind(cls, values: Any, read: ModelWrapValidatorHandler[Self]) -> Any:
        kind = _kind(values) if cls is FinetuneConfig else None
        return read(values) if kind is None else kind.model_validate(values)

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
        """Architecture of the model: causal, or encoder-decoder."""
        return self.alg.model_type

    @property
    def evaluation_settings(self) -> GenerationConfig | None:
        """How outputs for the validation and test splits are generated."""
        return self.train_evaluation.generation_kwargs or self.training_settings

    @property
    def training_settings(self) -> GenerationConfig | None:
        """How outputs for the training split are generated."""
        raise NotImplementedError

    def problems(self) -> Iterator[Problem]:
        """What the parts find wrong with their keys."""
        yield from super().problems()
        yield from (problem.below("alg") for problem in self.alg.problems())
        evaluation = self.train_evaluation
        yield from problems_of_metrics(evaluation.metrics, "train_evaluation.metrics")
        if self.upload_model_to_wandb and not self.tracker_settings().wandb:
            yield Problem("needs 'log_to_wandb' = true", "upload_model_to_wandb", True)
        if self.reward_fn is not None:
            yield from (problem.below("reward_fn") for problem in self.reward_fn.problems())
        settings, key = self.evaluation_settings, "train_evaluation.generation_kwargs"
        if settings is None:
            yield Problem("needed here or in 'alg'", key)
        elif evaluation.generation_kwargs is not None:
            yield from generation_problems(settings, self.model_type, key)

    def ways_to_save_memory(self) -> Iterator[str]:
        """Fewer outputs at a time."""
        if self.env is not None:
            yield memory_hints.smaller("env.n_envs", self.env.n_envs)
        size = self.train_evaluation.eval_batch_size
        yield memory_hints.smaller("train_evaluation.eval_batch_size", size)


class SupervisedConfig(FinetuneConfig):
    """Finetuning by references; what the published tree has for rewards is of no use here."""

    alg: SupervisedAlg
    """Which model is finetuned, and how."""

    @property
    def tf32(self) -> bool:
        """Whether the Trainer's argument of that name asks for it."""
        return bool(self.alg.training_args.get("tf32"))

    @property
    def training_settings(self) -> GenerationConfig | None:
        """How outputs for the training split are generated."""
        return self.alg.generation_kwargs or self.train_evaluation.generation_kwargs

    def ways_to_save_memory(self) -> Iterator[str]:
        """Also smaller batches, then other ways to hold the model."""
        yield from super().ways_to_save_memory()
        yield from memory_hints.of_batches(self.alg.training_args)
        yield from memory_hints.of_narrow_training(self.alg.training_args)
        yield from memory_hints.of_adapters(self.alg.policy, "alg.policy")

    def problems_of_ranks(self, num_ranks: int) -> Iterator[Problem]:
        """Batches too small for all ranks."""
        yield from of_batches(self.alg.training_args, num_ranks)


class ReinforcementConfig(FinetuneConfig):
    """Finetuning by rewards."""

    reward_fn: RewardConfig
    """What an output is worth."""
    env: EnvConfig
    """Where outputs are sampled."""
    alg: AnyReinforcementAlg
    """Which algorithm finetunes which policy."""
    train_evaluation: ReinforcementEvaluation
    """How long is trained, and what is measured on the way."""

    @property
    def training_settings(self) -> GenerationConfig:
        """How outputs for the training split, and those of rollouts, are generated."""
        return self.alg.policy.args.generation_kwargs

    def problems(self) -> Iterator[Problem]:
        """Also what of rollouts and rewards does not go with the algorithm."""
        yield from super().problems()
        yield from problems_of_rollouts(self.alg, self.env)
        yield from self._reward_without_std()

    def notices(self) -> Iterator[str]:
        """What of rollouts and settings is other than written."""
        yield from super().notices()
        yield from notices_of_rollouts(self.alg, self.env)
        yield from self.alg.args.notices()

    def ways_to_save_memory(self) -> Iterator[str]:
        """Also smaller minibatches, then other ways to hold the policy."""
        yield from super().ways_to_save_memory()
        yield from memory_hints.of_reinforcement(self.alg)

    def problems_of_ranks(self, num_ranks: int) -> Iterator[Problem]:
        """Algorithms that ranks cannot share, and minibatches too small for all of them."""
        name, size = self.alg.id, self.alg.rollout_spec.minibatch_tokens
        if self.alg.args.single_process_fp32 or (
            self.alg.is_custom and not find(name).supports_data_parallel
        ):
            yield Problem(f"'alg.id' = '{name}' runs in one process; leave it out of this run's "
                          "configuration, or take another algorithm",
                          "gpus_per_run", num_ranks)  # fmt: skip
        if size is not None and size < num_ranks:
            yield Problem(f"is less than 'gpus_per_run' = {num_ranks}, so that processes would "
                          "have no token of a minibatch", "alg.args.batch_size", size)  # fmt: skip

    def _reward_without_std(self) -> Iterator[Problem]:
        """A reward that does not know how sure it is, where that is asked for."""
        if not self.alg.rollout_spec.needs_reward_stds:
            return
        with contextlib.suppress(UserError):  # an unknown reward, which is told elsewhere
            if not self.reward_fn.find(self.reward_fn.id).gives_std():
                yield Problem(f"the reward '{self.reward_fn.id}' has no standard deviation of its "
                              "own; take 'learned_preference', or settings that do not ask for it "
                              "(such as 'advantage_regularization' = \"none\")",
                              "alg.args")  # fmt: skip


def _kind(values: Any) -> type[FinetuneConfig] | None:
    """The kind of finetuning that a configuration's keys ask for; None for neither."""
    name = tag(values.get("alg")) if isinstance(values, dict) else ""
    if name == SUPERVISED:
        return SupervisedConfig
    return ReinforcementConfig if name in BUILT_IN or name.startswith(CUSTOM) else None
