"""Base of supervised and reinforcement finetuning: data, evaluations, the model's folder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from common import distributed
from common.experiment import Context
from common.machine.devices import run_device
from common.run.summary import write_summary
from common.training.stepwise_run import StateT
from grue import policies
from grue.experiments.finetune import published_artifacts
from grue.experiments.finetune.config import FinetuneConfig, SupervisedConfig
from grue.experiments.model_card import model_card
from grue.metrics.metric import Metric
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.runs.evaluation import Evaluator
from grue.runs.evaluation_times import EvaluationTimes
from grue.runs.model_folder import MODEL, save_model
from grue.runs.text_run import TextRun
from grue.supervised.config import SupervisedAlg
from grue.tasks.inputs import Inputs, evaluated_of_training, load_inputs, tell_of_fewer
from grue.tasks.task import Split

FinetuneConfigT = TypeVar("FinetuneConfigT", bound=FinetuneConfig)


class FinetuneRun(TextRun[FinetuneConfigT, StateT]):
    """A run with a policy that is evaluated on all splits before and after it is trained."""

    train_inputs: Inputs
    evaluated: dict[Split, Inputs]
    """Inputs of each split that is evaluated."""
    policy: Policy
    evaluator: Evaluator

    @property
    @abstractmethod
    def model_name(self) -> str:
        """Name of the model that is finetuned."""

    def load_data(self) -> None:
        """Read the inputs of all splits."""
        config, seed = self.config, self.context.seed
        inputs: dict[Split, Inputs] = {
            split: load_inputs(config.datapool, split, seed=seed) for split in config.splits
        }
        tell_of_fewer(config.datapool, {split: len(found) for split, found in inputs.items()})
        self.train_inputs = inputs.pop("train")
        self.evaluated = self._of_training() | inputs
        self.times = EvaluationTimes({split: len(own) for split, own in self.evaluated.items()})

    def build_model(self) -> None:
        """Load the policy, and make what evaluates it."""
        config = self.config
        self.policy = load_policy(config, self.context)
        self.evaluator = Evaluator(
            self.policy,
            self.metrics(),
            batch_size=config.train_evaluation.eval_batch_size,
            seed=self.context.seed,
            num_samples=config.train_evaluation.num_samples_per_input,
            group_by=config.train_evaluation.group_by,
            predictions=self.folder.path if config.log_entire_predictions else None,
            gpu_ids=self.gpu_ids,
            add_table=self.tracker.add_table,
        )

    def metrics(self) -> list[tuple[str, Metric[Any]]]:
        """Return the metrics of evaluations, with their ids."""
        return [(metric.id, metric.build()) for metric in self.config.train_evaluation.metrics]

    def watched_model(self) -> nn.Module:
        """Return the policy's model."""
        return self.policy.model

    def _of_training(self) -> dict[Split, Inputs]:
        """Return the training inputs that are evaluated, if any."""
        if self.config.no_eval_on_train_set:
            return {}
        seed = self.context.seed
        return {"train": evaluated_of_training(self.config.datapool, self.train_inputs, seed=seed)}

    def evaluate_everywhere(self, label: str) -> dict[str, float]:
        """Return the metrics on all splits that are evaluated before and after."""
        found: dict[str, float] = {}
        for split in self.evaluated:
            found |= self.evaluate(split, label)
        return found

    def tell_of_evaluations(self, num_on_the_way: int, splits: Sequence[Split] = ("val",)) -> None:
        """Log the estimated duration of evaluations: those on ``splits``, then those on all."""
        self.times.tell_of_rest(
            {split: 1 + num_on_the_way * (split in splits) for split in self.evaluated}
        )

    def evaluate(self, split: Split, label: str) -> dict[str, float]:
        """Return the metrics on one split; ``label`` names the time."""
        config = self.config
        settings = config.training_settings if split == "train" else config.evaluation_settings
        assert settings is not None, "checked with the configuration"
        limit, side = self.prompt_limits(settings)
        with self.doing(f"evaluating {split}"), self.times.measured(split):
            return self.evaluator.evaluate(
                self.evaluated[split], split, settings, label=label, max_length=limit, side=side
            )

    def prompt_limits(self, settings: GenerationConfig) -> tuple[int | None, Any]:
        """Return the largest number of prompt tokens in evaluations, and the side of truncation."""
        return self.config.tokenizer.max_length, self.config.tokenizer.truncation_side

    def close(self) -> None:
        """End the tracking, and write what was tracked in the published programs' files too."""
        super().close()
        if not distributed.is_main():
            return
        by_iteration = not isinstance(self.config, SupervisedConfig)
        published_artifacts.write(self.folder, by_iteration=by_iteration)

    def summarise(self, found: Mapping[str, float]) -> float | None:
        """Save the model and the summary; return the score: the first metric on ``val``."""
        name = self.score_name(found)
        score = None if name is None else found[name]
        if not distributed.is_main():
            return score
        card = model_card(self.model_name, self.config.datapool.id, self.config.alg, found)
        save_model(self.folder, self.policy, card)
        if self.config.upload_model_to_wandb:
            self.tracker.upload_model(self.folder.path / MODEL)
        num_inputs = {split: len(inputs) for split, inputs in self.evaluated.items()}
        write_summary(self.folder, score, name, last=dict(found), num_inputs=num_inputs)
        return score


def load_policy(config: FinetuneConfig, context: Context) -> Policy:
    """Return the model to finetune with its tokenizer, on the run's device.

    For reinforcement it has no dropout unless configured, so that probabilities are those of the
    policy that sampled.
    """
    from grue.models.loading import load_model, load_tokenizer

    alg = config.alg
    tokenizer = load_tokenizer(config.tokenizer)
    dropout = isinstance(alg, SupervisedAlg) or alg.rollout_spec.dropout
    source = alg if isinstance(alg, SupervisedAlg) else alg.policy.args
    model = load_model(
        source.model_name,
        alg.model_type,
        alg.policy,
        seed=context.seed,
        dropout=dropout,
        revision=source.revision,
    )
    policy_class = Policy if isinstance(alg, SupervisedAlg) else policies.find(alg.policy.id)
    policy: Policy = policy_class(model, tokenizer, run_device(context.gpu_ids))
    if not isinstance(alg, SupervisedAlg):
        policy.args = alg.policy.args
        policy.prefix, policy.suffix = policy.args.query_prefix, policy.args.query_suffix
        policy.mixed_precision = alg.policy.mixed_precision
    return policy
