"""IMDB: film reviews, whose first half a model continues (Maas et al., 2011).

Published splits: the hub's training reviews, shuffled by the seed, are training (the first 80 %)
and validation (the rest); its test reviews, shuffled by the same seed, are cut to the first 5,000.
Local data that have a validation split of their own keep it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from common.config.base import Config, Seed
from grue.tasks.sources.hub_rows import Hub
from grue.tasks.sources.local_files import has_split
from grue.tasks.sources.rows import Number, Row, load_rows
from grue.tasks.task import TASKS, HubTaskArgs, Sample, Split, Task

log = logging.getLogger(__name__)

_HUB = Hub("stanfordnlp/imdb", {"name": "plain_text"})
_TRAIN_SHARE = 0.8
_TEST_SIZE = 5000
_USUAL_SEED = 42
_POSITIVE = 1


class ReviewArgs(HubTaskArgs):
    """Keys of both tasks."""

    seed: Seed = None
    """Seed that shuffles the reviews before they are split; None (or -1) is 42, with a warning."""


class ImdbArgs(ReviewArgs):
    """Keys of the task of continuing a review."""

    only_positive_samples: bool = False
    """If true, the training split has positive reviews only; the others have all."""


class ImdbFixedArgs(ImdbArgs):
    """Keys of the same task with a seed of its own."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Seed that shuffles the reviews before they are split."""


class ImdbSeq2SeqArgs(ReviewArgs):
    """Keys of the task with second halves as references."""

    positive_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the training split's positive reviews that are kept, the first ones."""


class _Review(Row):
    text: str
    label: Number

    def halves(self) -> tuple[str, str]:
        """Return the two halves of a review, split between words, which single blanks separate."""
        words = self.text.split(" ")
        middle = len(words) // 2
        return " ".join(words[:middle]), " ".join(words[middle:])


@TASKS.register("imdb")
class Imdb(Task[ImdbArgs]):
    """Reviews to continue: columns ``text`` and ``label`` (0 negative, 1 positive)."""

    Args: ClassVar[type[Config]] = ImdbArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the first half of each review; the reference is the whole review.

        The number in an id is the review's position before negative ones are dropped.
        """
        positive_only = self.args.only_positive_samples and split == "train"
        return [
            Sample(f"{split}_{i}", review.halves()[0], (review.text,), {"label": int(review.label)})
            for i, review in enumerate(_reviews(self.args, split))
            if review.label == _POSITIVE or not positive_only
        ]


@TASKS.register("imdb_fixed")
class ImdbFixed(Imdb):
    """The same task, by the name under which a published program repaired overlapping splits."""

    Args = ImdbFixedArgs


@TASKS.register("imdb_seq2seq")
class ImdbSeq2Seq(Task[ImdbSeq2SeqArgs]):
    """Reviews in two halves: columns ``text`` and ``label`` (0 negative, 1 positive)."""

    Args = ImdbSeq2SeqArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the first half of each review; the reference is the second half.

        The metadata have the whole review. The training split has positive reviews only.
        """
        samples = [
            Sample(f"{split}_{i}", first, (second,), {"reference": review.text})
            for i, review in enumerate(_reviews(self.args, split))
            if review.label == _POSITIVE or split != "train"
            for first, second in [review.halves()]
        ]
        if split == "train":
            return samples[: int(len(samples) * self.args.positive_ratio)]
        return samples


def _reviews(args: ReviewArgs, split: Split) -> Sequence[_Review]:
    """Return the reviews of a split, in the order in which the seed shuffles them."""
    seed, hub = _USUAL_SEED if args.seed is None else args.seed, _HUB.at(args.revision)
    if args.seed is None and split == "train":
        log.warning("'datapool.args.seed' is not given: %d shuffles the reviews", seed)
    if split == "test":
        return _shuffled(load_rows(_Review, args.path, "test", hub), seed)[:_TEST_SIZE]
    if args.path is not None and has_split(args.path, "val"):
        return _shuffled(load_rows(_Review, args.path, split, hub), seed)
    reviews = _shuffled(load_rows(_Review, args.path, "train", hub), seed)
    end = int(len(reviews) * _TRAIN_SHARE)
    return reviews[:end] if split == "train" else reviews[end:]


def _shuffled(reviews: Sequence[_Review], seed: int) -> list[_Review]:
    """Return ``count`` positions in the order of ``datasets.Dataset.shuffle``."""
    return [reviews[row] for row in np.random.default_rng(seed).permutation(len(reviews))]
