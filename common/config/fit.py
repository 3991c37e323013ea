"""The keys of a run that fits a model."""

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
    """Keys that every fitting experiment knows."""

    trainer_checkpoint: Annotated[OptionalText, INPUT_FILE] = None
    """Training state (a ``checkpoints/last.pt``) to go on from; None to begin anew."""
    epochs: PositiveInt = 100
    """Passes over the training inputs."""
    validate_every: PositiveInt = 1
    """Epochs from one validation to the next; the last epoch always ends with one."""
    train_batch_log_interval: Annotated[Interval, NO_EFFECT] = 50
    """Batches from one log line inside an epoch to the next; None (or -1) for none."""
    epoch_log_interval: Annotated[Interval, NO_EFFECT] = 1
    """Epochs from one log line to the next; None (or -1) for none."""
    save_metric_plots: Annotated[bool, NO_EFFECT] = False
    """Whether one picture per metric is drawn in the run's folder."""
    save_every_num_val: PerValidations = 1
    """Validations from one set of kept checkpoints and metric plots to the next."""
    score_metric_name: OptionalText = None
    """Metric that is the run's score; None for no score."""
    is_train_metric: Annotated[bool, NO_EFFECT] = False
    """Accepted for published plans: the metric's name says whether it is a training metric."""
    score_largest: bool = Field(
        default_factory=lambda given: larger_is_better(given.get("score_metric_name"))
    )
    """Whether a larger score is better; where it is not given, the metric's name says it: smaller
    losses, errors, KL, perplexities and distances are better, and larger values of all others."""
    return_best_score: bool = False
    """Whether the score is the metric's best value instead of its last."""
    save_checkpoints: bool = False
    """Whether checkpoints are kept beside the last one."""
    num_checkpoints: PositiveInt = 1
    """How many are kept."""
    save_checkpoints_by_score: bool = False
    """Whether the best by score are kept instead of the newest."""
    early_stop: bool = False
    """Whether training ends once the score has stopped to improve."""
    early_stop_min_delta: NonNegativeFloat = 0.0
    """Improvement, in units of the score, that counts as one."""
    early_stop_patience: NonNegativeInt = 0
    """Checks, one per validation, without an improvement that are waited for; one more ends it."""
    early_stop_cooldown: NonNegativeInt = 0
    """Epochs at the beginning without checks."""
    early_stop_restore_best_weights: bool = False
    """Whether a run ends with the weights of its best check instead of the last."""

    def metric_names(self) -> list[str]:
        """The metrics that this run writes."""
        return []

    def notices(self) -> Iterator[str]:
        """The direction of a score, where its metric is given and the direction is not."""
        yield from super().notices()
        given, name = self.model_fields_set, self.score_metric_name
        if name is not None and "score_metric_name" in given and "score_largest" not in given:
            kind = "larger" if self.score_largest else "smaller"
            yield f"score '{name}': {kind} is better; 'score_largest' would say otherwise"

    def problems(self) -> Iterator[Problem]:
        """Scores that name no metric."""
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
