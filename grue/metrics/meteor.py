"""METEOR: alignment of words by form, stem and synonym (Lavie and Agarwal, 2007)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import ClassVar

from common.errors import Problem, UserError
from grue.metrics.metric import METRICS
from grue.metrics.reference_metric import PairwiseArgs, PairwiseMetric
from grue.metrics.references import as_one_text
from grue.metrics.tokens.scripts import Sight
from grue.metrics.tokens.words import SPLITS_AT_BLANKS, Stems, words
from grue.metrics.workers.pair import Row, Scorer
from grue.nltk_data import WORDNET, why_missing

_WORDS_KEPT = 50_000
_TEXTS_KEPT = 256  # the samples of an input stand together


class MeteorArgs(PairwiseArgs):
    """Keys of METEOR."""

    stringify_references: bool = False
    """If true, the list of references is written as one text and tokenized as NLTK 3.7 did, as in
    published results. Otherwise the best reference counts, which gives far higher numbers that are
    not comparable with published ones. The run's ``compatibility`` sets it for all parts at
    once."""

    def missing(self) -> Iterator[Problem]:
        """Yield WordNet as a need."""
        yield from super().missing()
        yield from missing_wordnet()


def missing_wordnet() -> Iterator[Problem]:
    """Yield WordNet, the source of METEOR's synonyms, if NLTK does not find it."""
    why = why_missing(WORDNET)
    if why is not None:
        yield Problem(f"METEOR {why}")


class _Synonyms:
    """WordNet with a cache of words."""

    def __init__(self) -> None:
        from nltk.corpus import wordnet

        self.synsets = lru_cache(_WORDS_KEPT)(wordnet.synsets)


@METRICS.register("meteor")
class Meteor(PairwiseMetric[MeteorArgs]):
    """METEOR with alpha 0.9, beta 3 and gamma 0.5, from 0 to 1; of all outputs, the mean.

    Words are separated by blanks, so it does not suit scripts without them. Stems and synonyms are
    English; words of other languages are compared by their form alone.
    """

    names = ("lexical/meteor",)
    Args = MeteorArgs
    id: ClassVar[str] = "meteor"

    def make_sight(self) -> Sight:
        """Return the warning of references that are one word."""
        return Sight(self.id, words, SPLITS_AT_BLANKS)

    def make_scorer(self) -> Scorer:
        """Return the score against the best reference.

        Raises:
            UserError: NLTK does not find WordNet.
        """
        for problem in missing_wordnet():
            raise UserError(str(problem))
        from nltk.translate.meteor_score import meteor_score

        as_published = self.args.stringify_references
        tokens = lru_cache(_TEXTS_KEPT)(partial(words, old_quotes=as_published))
        stems, synonyms = Stems(), _Synonyms()

        def score(output: str, references: Sequence[str]) -> Row:
            chosen = as_one_text(references) if as_published else references
            against = [tokens(reference) for reference in chosen]
            return [meteor_score(against, tokens(output), stemmer=stems, wordnet=synonyms)]

        return score
