"""Keys of a run that fits a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from common.config.base import INPUT_FILE, NO_EFFECT, Interval, OptionalText, Published
from common.config.tracking import TrackingConfig
from common.errors import Problem
from common.registry import suggestion
from common.score import larger_is_better

PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
PerValidations = Annotated[PositiveInt, Published(-1, meaning=1)]


class FitConfig(TrackingConfig):
    """Keys of every fitting experiment."""

    trainer_checkpoint: Annotated[OptionalText, INPUT_FILE] = None
    """Training state (a ``checkpoints/last.pt``) to continue from; None for a fit from the
    beginning."""
    epochs: PositiveInt = 100
    """Number of passes over the training inputs."""
    validate_every: PositiveInt = 1
    """Number of epochs between validations; the last epoch always ends with one."""
    train_batch_log_interval: Annotated[Interval, NO_EFFECT] = 50
    """Number of batches between log lines inside an epoch; None (or -1) for none."""
    epoch_log_interval: Annotated[Interval, NO_EFFECT] = 1
    """Number of epochs between log lines; None (or -1) for none."""
    save_metric_plots: Annotated[bool, NO_EFFECT] = False
    """If true, one picture per metric is drawn in the run's folder."""
    save_every_num_val: PerValidations = 1
    """Number of validations between kept checkpoints and metric plots."""
    score_metric_name: OptionalText = None
    """Metric that is the run's score; None for no score."""
    is_train_metric: Annotated[bool, NO_EFFECT] = False
    """Accepted from published plans and ignored: the metric's name says whether it is a training
    metric."""
    score_largest: bool = Field(
        default_factory=lambda given: larger_is_better(given.get("score_metric_name"))
    )
    """If true, a larger score is better. If it is not given, the metric's name decides: smaller
    losses, errors, KL, perplexities and distances are better, and larger values of all others."""
    return_best_score: bool = False
    """If true, the score is the metric's best value instead of its last."""
    save_checkpoints: bool = False
    """If true, further checkpoints are kept in addition to the last one."""
    num_checkpoints: PositiveInt = 1
    """Number of checkpoints to keep."""
    save_checkpoints_by_score: bool = False
    """If true, the checkpoints with the best scores are kept instead of the newest."""
    early_stop: bool = False
    """If true, training ends once the score stops improving."""
    early_stop_min_delta: NonNegativeFloat = 0.0
    """Smallest improvement, in units of the score, that counts."""
    early_stop_patience: NonNegativeInt = 0
    """Number of checks without improvement before training ends at the next one; there is one check
    per validation."""
    early_stop_cooldown: NonNegativeInt = 0
    """Number of epochs at the beginning without checks."""
    early_stop_restore_best_weights: bool = False
    """If true, a run ends with the weights of its best check instead of the last."""

    def metric_names(self) -> list[str]:
        """Return the metrics that this run writes."""
        return []

    def notices(self) -> Iterator[str]:
        """Yield the score's direction, if its name alone tells it, and what is due too late."""
        yield from super().notices()
        given, name = self.model_fields_set, self.score_metric_name
        if name is not None and "score_metric_name" in given and "score_largest" not in given:
            kind = "larger" if self.score_largest else "smaller"
            yield f"score '{name}': {kind} is better, by its name; 'score_largest' changes this"
        yield from self._notices_of_schedules()

    def _notices_of_schedules(self) -> Iterator[str]:
        """Yield notices on checks and checkpoints that are due too late to have an effect."""
        before_checks = self.early_stop_cooldown // self.validate_every
        all_checks = (self.epochs - 1) // self.validate_every  # at the last epoch it ends anyway
        checks = max(0, all_checks - before_checks)
        fewest = self.early_stop_patience + 2  # the first one has nothing to compare with
        has_checks = self.epochs // self.validate_every > before_checks
        restores = self.early_stop_restore_best_weights and has_checks
        if self.early_stop and not restores and checks < fewest:
            key = "early_stop_patience" if all_checks < fewest else "early_stop_cooldown"
            yield str(Problem(f"training never ends early: that takes {fewest} checks before the "
                              f"last epoch, and 'epochs' = {self.epochs} with 'validate_every' = "
                              f"{self.validate_every} leave {checks}; lower it, or raise 'epochs'",
                              key, getattr(self, key)))  # fmt: skip
        every = self.validate_every * self.save_every_num_val
        if self.save_checkpoints and every > self.epochs:
            yield str(Problem("no further checkpoint is kept: the first one is due after "
                              f"{every} of 'epochs' = {self.epochs}; lower it, or "
                              "'validate_every'", "save_every_num_val",
                              self.save_every_num_val))  # fmt: skip

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of scores that name no metric."""
        yield from super().problems()
        name, known = self.score_metric_name, self.metric_names()
        if name is not None and name not in known:
            close = suggestion(name, known)
            yield Problem(
                f"this run writes no such metric{close}; known: {', '.join(known)}",
                "score_metric_name",
                name,
            )
        for key in ("early_stop", "save_checkpoints_by_score"):
            if getattr(self, key) and name is None:
                yield Problem("needs a score; set 'score_metric_name'", key, True)
