"""Objectives of reward models, by loss: examples of choices, loss, and metrics.

B is the number of examples, m the number of responses of each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.config.base import Config
from common.errors import UserError
from grue.experiments.reward_model import config, losses
from grue.experiments.reward_model import metrics as measures
from grue.scorers.reward_model import rating_moments
from grue.tasks.choices.rows import Choice

Floats = NDArray[np.float64]
LossT = TypeVar("LossT", bound=Config)

Example = tuple[tuple[int, ...], float]
"""Positions of the m compared responses of a choice, and their target."""


class Objective(ABC, Generic[LossT]):
    """A loss with its examples, metrics and targets."""

    score: ClassVar[str] = "accuracy"
    """Metric by which runs are compared."""

    def __init__(self, keys: LossT) -> None:
        self.keys = keys

    @property
    def num_outputs(self) -> int:
        """Number of logits, C: one is a score, several are those of a rating 1 ... C."""
        return 1

    @abstractmethod
    def examples(self, choice: Choice) -> Iterator[Example]:
        """Return the examples of a choice.

        Raises:
            UserError: a label that they need is missing.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return [B] losses of outputs [B, m] (scores) or [B, m, C] (ratings) and targets [B]."""

    @abstractmethod
    def measures(self, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
        """Return the metrics by name, for outputs and targets as in `loss`, in double precision."""

    def scale(self, targets: Floats) -> tuple[float, float]:
        """Return the mean and std of rewards before training, from all targets."""
        return 0.0, 1.0


class BestOfN(Objective[config.BestOfNLoss]):
    """Best of n; the target is the position of the preferred response."""

    def examples(self, choice: Choice) -> Iterator[Example]:
        """Yield one example, of all responses."""
        yield tuple(range(len(choice.responses))), float(_best(choice))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy."""
        return losses.best_of_n_loss(outputs, targets.long())

    def measures(self, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
        """Return the share of preferred responses with the highest score, and calibration."""
        right = (outputs.argmax(-1) == targets.long()).numpy().astype(np.float64)
        predicted = outputs.softmax(-1).amax(-1).numpy()
        return {
            "accuracy": float(right.mean()),
            "calibration_error": measures.calibration_error(predicted, right),
        }


class OfPairs(Objective[LossT]):
    """Pairs, with the preferred response first."""

    def examples(self, choice: Choice) -> Iterator[Example]:
        """Yield the preferred response with each other one."""
        best = _best(choice)
        for other in range(len(choice.responses)):
            if other != best:
                yield (best, other), self.target(choice, best, other)

    def target(self, choice: Choice, best: int, other: int) -> float:
        """Return the target of a pair."""
        return 0.0


class Pairwise(OfPairs[config.PairwiseLoss]):
    """Pairs of scores; the target is the margin."""

    def target(self, choice: Choice, best: int, other: int) -> float:
        """Return the rating of the preferred response minus that of the other one."""
        if self.keys.margin == "none":
            return 0.0
        if choice.ratings is None:
            raise UserError(
                "has no ratings for the margin of 'alg.loss'; set 'alg.loss.margin' to 'none'"
            )
        return choice.ratings[best] - choice.ratings[other]

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the logistic loss, with margin and centring."""
        chosen, rejected = outputs.unbind(1)
        return losses.pairwise_loss(
            chosen, rejected, targets, margin=self.keys.margin, centring=self.keys.centring
        )

    def measures(self, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
        """Return the share of pairs in the right order, and calibration of sigmoid(difference)."""
        differences = outputs[:, 0] - outputs[:, 1]
        return {
            "accuracy": measures.accuracy(differences.numpy()),
            "calibration_error": measures.pair_calibration_error(differences.sigmoid().numpy()),
        }


class Probabilistic(OfPairs[config.ProbabilisticLoss]):
    """Pairs of rating distributions; there is no target."""

    @property
    def num_outputs(self) -> int:
        """Number of logits: one for each rating."""
        return self.keys.num_ratings

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return -log P(the preferred response is rated higher)."""
        chosen, rejected = outputs.unbind(1)
        return losses.probabilistic_loss(chosen, rejected)

    def measures(self, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
        """Return the share of pairs whose mean ratings are in the right order, and calibration.

        The probability that the preferred response is better is that of a higher rating, given that
        the ratings differ.
        """
        chosen, rejected = outputs.unbind(1)
        means, stds = rating_moments(outputs)
        higher = losses.probability_rated_higher(chosen, rejected)
        lower = losses.probability_rated_higher(rejected, chosen)
        tiny = torch.finfo(higher.dtype).tiny  # two ratings that are surely equal are a tie
        decided = (higher + tiny) / (higher + lower + 2 * tiny)
        return {
            "accuracy": measures.accuracy((means[:, 0] - means[:, 1]).numpy()),
            "calibration_error": measures.pair_calibration_error(decided.numpy()),
            "rating_std": float(stds.mean()),
        }


class ScalarRating(Objective[config.ScalarRatingLoss]):
    """Single responses; the target is the rating."""

    score = "correlation"

    def examples(self, choice: Choice) -> Iterator[Example]:
        """Yield one example for each response."""
        if choice.ratings is None:
            raise UserError("has no ratings, which the loss 'scalar_rating' learns")
        yield from (((place,), rating) for place, rating in enumerate(choice.ratings))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error."""
        return losses.rating_loss(outputs.squeeze(1), targets)

    def measures(self, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
        """Return correlation and calibration, and mean and std of the ratings (ddof 0)."""
        predictions, ratings = outputs.squeeze(1).numpy(), targets.numpy()
        return {
            "correlation": measures.correlation(predictions, ratings),
            "calibration_slope": measures.calibration_slope(predictions, ratings),
            "rating_mean": float(ratings.mean()),
            "rating_variance": float(ratings.var()),
        }

    def scale(self, targets: Floats) -> tuple[float, float]:
        """Return the mean and std of the ratings."""
        return float(targets.mean()), float(targets.std())


class ScalarCompare(Objective[config.ScalarCompareLoss]):
    """Two responses; the target is the rating of the second minus that of the first."""

    def examples(self, choice: Choice) -> Iterator[Example]:
        """Yield one example, of two responses."""
        if len(choice.responses) != 2:
            raise UserError(f"has {len(choice.responses)} responses; the loss 'scalar_compare' "
                            "needs two")  # fmt: skip
        difference = choice.difference
        if difference is None:
            if choice.ratings is None:
                raise UserError("has no 'difference' and no ratings, and the loss "
                                "'scalar_compare' learns them")  # fmt: skip
            difference = choice.ratings[1] - choice.ratings[0]
        yield (0, 1), difference

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the squared error of the difference."""
        first, second = outputs.unbind(1)
        return losses.comparison_loss(first, second, targets)

    def measures(self, outputs: Tensor, targets: Tensor) -> Mapping[str, float]:
        """Return the share of differences of the right sign, correlation and calibration."""
        predictions, differences = (outputs[:, 1] - outputs[:, 0]).numpy(), targets.numpy()
        return {
            "accuracy": measures.accuracy(predictions * np.sign(differences)),
            "correlation": measures.correlation(predictions, differences),
            "calibration_slope": measures.calibration_slope(predictions, differences),
        }

    def scale(self, targets: Floats) -> tuple[float, float]:
        """Return the mean and std of half the differences."""
        return float(targets.mean() / 2), float(targets.std() / 2)


_OBJECTIVES: Mapping[str, type[Objective[Any]]] = {
    "best_of_n": BestOfN,
    "pairwise": Pairwise,
    "scalar_rating": ScalarRating,
    "scalar_compare": ScalarCompare,
    "probabilistic": Probabilistic,
}


def make_objective(keys: config.AnyLoss) -> Objective[Any]:
    """Return the objective that the keys of ``alg.loss`` describe."""
    return _OBJECTIVES[keys.id](keys)


def _best(choice: Choice) -> int:
    """Return the position of the preferred response."""
    if choice.best is None:
        raise UserError("names no preferred response ('best', or 'chosen' and 'rejected'), which "
                        "the loss needs")  # fmt: skip
    if len(choice.responses) < 2:
        raise UserError("has a single response; the loss compares at least two")
    return choice.best
