"""Keys of finetuning runs: tokenizer, data pool, reward, algorithm, evaluation, as published.

Names and defaults are those of RL4LMs and ml-rlgrad, whose YAML files hold the same tree.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self

from pydantic import ModelWrapValidatorHandler, model_validator

from common.config.base import (
    NO_EFFECT,
    OptionalText,
)
from common.custom.user_code import CUSTOM
from common.errors import Problem
from grue.algorithms import find
from grue.algorithms.any_alg import BUILT_IN, AnyReinforcementAlg
from grue.experiments import memory_hints
from grue.experiments.finetune import other_trainers
from grue.experiments.finetune.any_alg import SUPERVISED, AnyAlg, tag
from grue.experiments.finetune.evaluation_keys import ReinforcementEvaluation, TrainEvaluation
from grue.experiments.finetune.reward_problems import problems_of_reward
from grue.experiments.finetune.rollout_problems import notices_of_rollouts, problems_of_rollouts
from grue.experiments.finetune.schedule_notices import notices_of_schedules
from grue.experiments.reward_model.as_metric import measured_like_rewarded
from grue.metrics.config import is_key
from grue.models.config import ModelType
from grue.policies.generation_config import GenerationConfig, generation_problems
from grue.rewards.config import RewardConfig
from grue.rollouts.config import EnvConfig
from grue.runs.compatibility import references_as_published
from grue.runs.config import TrackedConfig, problems_of_metrics, renamed
from grue.supervised.config import SupervisedAlg, notices_of_warmup, of_batches
from grue.tasks.task import Split


class FinetuneConfig(TrackedConfig):
    """Finetuning of a language model: by its references or by rewards.

    These are the keys of both, in the published tree; ``alg.id`` chooses between the two kinds
    below.
    """

    names_elsewhere: ClassVar = other_trainers.NAMES

    experiment_name: Annotated[str, NO_EFFECT] = "rl4lm_experiment"
    """Name of the run, with which its folder begins; a template such as ``"{random_seed}"``."""
    reward_fn: RewardConfig | None = None
    """Reward of outputs, in reinforcement finetuning."""
    env: EnvConfig | None = None
    """Sampling of outputs, in reinforcement finetuning."""
    alg: AnyAlg
    """Algorithm and the model that it finetunes."""
    train_evaluation: TrainEvaluation
    """Length of training, and evaluations during it."""
    no_eval_on_train_set: bool = False
    """If true, evaluations before and after skip the training split."""
    log_entire_predictions: Annotated[bool, NO_EFFECT] = False
    """If true, every evaluation writes all outputs, instead of ten of them to the log."""
    upload_model_to_wandb: Annotated[bool, NO_EFFECT] = False
    """If true, the finished model is uploaded to Weights & Biases; needs ``log_to_wandb`` or
    ``use_wandb``."""
    base_path_to_store_results: Annotated[OptionalText, NO_EFFECT] = None
    """Published name of ``outputs_dir``, which takes precedence if both are given."""

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
    def splits(self) -> tuple[Split, ...]:
        """Splits of the task that the run reads."""
        return ("train", "val", "test")

    @property
    def model_type(self) -> ModelType:
        """Architecture of the model: causal, or encoder-decoder."""
        return self.alg.model_type

    @property
    def evaluation_settings(self) -> GenerationConfig | None:
        """Generation settings for the validation and test splits."""
        return self.train_evaluation.generation_kwargs or self.training_settings

    @property
    def training_settings(self) -> GenerationConfig | None:
        """Generation settings for the training split."""
        raise NotImplementedError

    def logs(self, metric: str) -> bool | None:
        """Return whether evaluations will measure a metric, whose name begins with its split.

        None for numbers of training itself.
        """
        split, _, name = metric.partition("/")
        if split not in self.splits:
            return False if is_key(metric) else None
        is_left_out = split == "train" and self.no_eval_on_train_set
        return False if is_left_out else self.train_evaluation.measures(name)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of the parts' keys."""
        yield from super().problems()
        yield from (problem.below("alg") for problem in self.alg.problems())
        evaluation = self.train_evaluation
        yield from problems_of_metrics(evaluation.metrics, "train_evaluation.metrics")
        if self.upload_model_to_wandb and not self.tracker_settings().wandb:
            yield Problem("needs 'log_to_wandb' = true", "upload_model_to_wandb", True)
        if self.reward_fn is not None:
            yield from (problem.below("reward_fn") for problem in self.reward_fn.problems())
        yield from self._equal_outputs()
        settings, key = self.evaluation_settings, "train_evaluation.generation_kwargs"
        if settings is None:
            yield Problem("needed here or in 'alg'", key)
        elif evaluation.generation_kwargs is not None:
            yield from generation_problems(settings, self.model_type, key)

    def _equal_outputs(self) -> Iterator[Problem]:
        """Yield the problem of several outputs per input that are all equal."""
        num_samples = self.train_evaluation.num_samples_per_input
        used = [self.evaluation_settings]
        if not self.no_eval_on_train_set:
            used.append(self.training_settings)
        if num_samples > 1 and not all(settings is None or settings.do_sample for settings in used):
            yield Problem("without sampling all outputs of an input are equal; set 'do_sample' = "
                          "true in the 'generation_kwargs' of 'train_evaluation' and of 'alg'",
                          "train_evaluation.num_samples_per_input", num_samples)  # fmt: skip

    def ways_to_save_memory(self) -> Iterator[str]:
        """Yield advice against a lack of memory: fewer outputs at a time."""
        if self.env is not None:
            yield memory_hints.smaller("env.n_envs", self.env.n_envs)
        size = self.train_evaluation.eval_batch_size
        yield memory_hints.smaller("train_evaluation.eval_batch_size", size)


class SupervisedConfig(FinetuneConfig):
    """Finetuning by references; the published tree's keys for rewards are ignored."""

    alg: SupervisedAlg
    """Model that is finetuned, and the settings of its training."""

    @property
    def tf32(self) -> bool:
        """True if the Trainer's argument of that name is set."""
        return bool(self.alg.training_args.get("tf32"))

    @property
    def training_settings(self) -> GenerationConfig | None:
        """Generation settings for the training split."""
        return self.alg.generation_kwargs or self.train_evaluation.generation_kwargs

    def notices(self) -> Iterator[str]:
        """Yield notices, including that of a warm-up that does not end."""
        yield from super().notices()
        yield from notices_of_warmup(self.alg.training_args)

    def problems(self) -> Iterator[Problem]:
        """Yield the problems, including that of a number of outputs, which are not drawn here."""
        yield from super().problems()
        most = self.train_evaluation.max_samples
        if most is not None:
            yield Problem("supervised finetuning draws no outputs to train on; drop it",
                          "train_evaluation.max_samples", most)  # fmt: skip

    def ways_to_save_memory(self) -> Iterator[str]:
        """Yield advice against a lack of memory, including smaller batches and model options."""
        yield from super().ways_to_save_memory()
        yield from memory_hints.of_batches(self.alg.training_args)
        yield from memory_hints.of_narrow_training(self.alg.training_args)
        yield from memory_hints.of_adapters(self.alg.policy, "alg.policy")

    def problems_of_ranks(self, num_ranks: int) -> Iterator[Problem]:
        """Yield the problem of batches too small for all ranks."""
        yield from of_batches(self.alg.training_args, num_ranks)


class ReinforcementConfig(FinetuneConfig):
    """Finetuning by rewards."""

    reward_fn: RewardConfig
    """A reward: its id and its own keys."""
    env: EnvConfig
    """Sampling of outputs."""
    alg: AnyReinforcementAlg
    """Algorithm and the policy that it finetunes."""
    train_evaluation: ReinforcementEvaluation
    """Length of training, and evaluations during it."""

    @property
    def training_settings(self) -> GenerationConfig:
        """Generation settings of the training split and of rollouts."""
        return self.alg.policy.args.generation_kwargs

    def problems(self) -> Iterator[Problem]:
        """Yield the problems, including rollouts and rewards that do not fit the algorithm."""
        yield from super().problems()
        yield from problems_of_rollouts(self.alg, self.env)
        yield from problems_of_reward(self.alg, self.reward_fn)

    def notices(self) -> Iterator[str]:
        """Yield notices on settings of rollouts that may surprise."""
        yield from super().notices()
        yield from notices_of_rollouts(self.alg, self.env)
        yield from notices_of_schedules(self.alg, self.env, self.train_evaluation)
        yield from self.alg.args.notices()

    def ways_to_save_memory(self) -> Iterator[str]:
        """Yield advice against a lack of memory, including smaller minibatches."""
        yield from super().ways_to_save_memory()
        yield from memory_hints.of_reinforcement(self.alg)

    def problems_of_ranks(self, num_ranks: int) -> Iterator[Problem]:
        """Yield why ranks cannot share the run: its algorithm, or too small minibatches."""
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


def _kind(values: Any) -> type[FinetuneConfig] | None:
    """Return the kind of finetuning of a configuration's keys; None for neither."""
    name = tag(values.get("alg")) if isinstance(values, dict) else ""
    if name == SUPERVISED:
        return SupervisedConfig
    return ReinforcementConfig if name in BUILT_IN or name.startswith(CUSTOM) else None
