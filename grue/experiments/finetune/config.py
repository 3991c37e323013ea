"""The keys of text runs: the published tree of tokenizer, data pool, reward, algorithm, evaluation.

Names and defaults are those of RL4LMs and ml-rlgrad, whose YAML files hold the same tree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import model_validator

from common.config.base import (
    NO_EFFECT,
    Config,
    OptionalText,
)
from common.config.fit import PositiveInt
from common.errors import Problem, UserError
from grue.algorithms import find
from grue.algorithms.config import (
    AnyAlg,
    CustomAlg,
    ReinforceAlg,
    SupervisedAlg,
    of_batches,
    of_generation,
)
from grue.experiments import memory_hints
from grue.experiments.finetune.rollout_problems import notices_of_rollouts, problems_of_rollouts
from grue.experiments.reward_model.as_metric import measured_like_rewarded
from grue.models.config import ModelType
from grue.policies.generation_config import GenerationConfig
from grue.rewards.config import RewardConfig
from grue.rollouts.config import EnvConfig
from grue.runs.compatibility import references_as_published
from grue.runs.config import Metrics, TrackedConfig, problems_of_metrics, renamed
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
    """Whether the finished model is uploaded to Weights & Biases; needs ``log_to_wandb`` or
    ``use_wandb``."""
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
        yield from problems_of_metrics(evaluation.metrics, "train_evaluation.metrics")
        if self.upload_model_to_wandb and not self.tracker_settings().wandb:
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
        name: str = self.alg.id
        own = isinstance(self.alg, CustomAlg) and not find(name).shares_work
        if self.alg.plain or own:
            yield Problem(f"'alg.id' = '{name}' runs in one process; leave it out of this run's "
                          "configuration, or take another algorithm",
                          "gpus_per_run", num_ranks)  # fmt: skip
        size = getattr(self.alg.args, "batch_size", None)
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
