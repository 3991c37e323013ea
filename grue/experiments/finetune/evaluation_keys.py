"""Keys of evaluations during finetuning."""

from __future__ import annotations

from typing import Annotated

from common.config.base import LATER, Config, OptionalText
from common.config.fit import PositiveInt
from grue.experiments.finetune.reward_metric import REWARD
from grue.metrics.config import measure
from grue.policies.generation_config import GenerationConfig
from grue.runs.config import Metrics
from grue.tasks.task import Split


class TrainEvaluation(Config):
    """Length of training, and evaluations during it."""

    eval_batch_size: PositiveInt
    """Number of inputs whose outputs are generated together in evaluations."""
    n_iters: PositiveInt | None = None
    """Number of iterations of reinforcement finetuning, each with a rollout and an update."""
    max_samples: Annotated[PositiveInt | None, LATER] = None
    """Number of outputs drawn in reinforcement finetuning after which it ends, before ``n_iters``
    iterations. Outputs that are drawn in vain count too; the iteration that reaches the number is
    the last one. Schedules of the learning rate end with whichever of both is nearer. None draws as
    many as all iterations need."""
    eval_every: PositiveInt | None = None
    """Number of iterations between evaluations on the validation split."""
    eval_test_set: bool = False
    """If true, reinforcement finetuning evaluates on the test split as often as on validation, not
    only before and after."""
    save_every: PositiveInt = 20
    """Number of iterations between checkpoints, from which an interrupted run can be resumed. A
    checkpoint is written sooner after a minute, and later if writing would take more than a
    twentieth of the time. One is also written before a run stops and after the last iteration."""
    num_samples_per_input: Annotated[PositiveInt, LATER] = 1
    """Number of outputs of each evaluated input, K; metrics are means over all. From 2 on they are
    drawn, and metrics of right and wrong outputs tell pass@k too, for k = 1, 2, 4 and so on."""
    group_by: Annotated[OptionalText, LATER] = None
    """Metadata of inputs, such as ``difficulty``: metrics and pass@k, and shares of groups in
    rollouts, are also told of each of its values alone; None (or the empty string) for none."""
    metrics: Metrics = ()
    """A metric: its id and its own keys."""
    generation_kwargs: GenerationConfig | None = None
    """Generation settings of evaluations; None for the algorithm's."""

    @property
    def splits_on_the_way(self) -> tuple[Split, ...]:
        """Splits that are evaluated every ``eval_every`` iterations."""
        return ("val", "test") if self.eval_test_set else ("val",)

    def measures(self, name: str) -> bool | None:
        """Return whether evaluations measure ``name``; None if a user's metric does not tell."""
        return measure(self.metrics, name)


class ReinforcementEvaluation(TrainEvaluation):
    """Evaluations of reinforcement finetuning, which are counted in iterations."""

    n_iters: PositiveInt
    """Number of iterations, each with a rollout and an update."""
    eval_every: PositiveInt
    """Number of iterations between evaluations on the validation split."""
    measure_reward: Annotated[bool, LATER] = False
    """If true, evaluations measure the run's reward too, as the metric ``reward``."""

    def measures(self, name: str) -> bool | None:
        """Return whether evaluations measure ``name``; None if a user's metric does not tell."""
        return measure(self.metrics, name, [REWARD] if self.measure_reward else [])
