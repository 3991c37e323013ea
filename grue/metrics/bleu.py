"""BLEU: n-gram precision of outputs against references (Papineni et al., 2002).

N-grams are counted for each output, in the tokens of sacreBLEU. The score of one output follows
from its own counts and that of a corpus from their sums, by sacreBLEU's formula.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from common.config.fit import PositiveFloat
from common.errors import UserError
from grue.metrics.metric import METRICS, Scores
from grue.metrics.reference_metric import PairwiseArgs, PairwiseMetric
from grue.metrics.tokens.scripts import Sight
from grue.metrics.workers.pair import Row, Scorer
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.policies.policy import Policy

Counts = NDArray[np.float64]
"""[2 + 2 * 4] numbers of tokens of the output, tokens of the reference, shared n-grams by length (1
to 4), and n-grams of the output by length."""

_ORDERS = 4
_TEXTS_KEPT = 256  # the samples of an input stand together

ArgsT = TypeVar("ArgsT", bound=PairwiseArgs)


class CountedBleu(PairwiseMetric[ArgsT]):
    """BLEU score computed from n-gram counts."""

    fix: ClassVar[str]
    """Advice, as an imperative, for texts with too few tokens."""

    @abstractmethod
    def library(self) -> Any:
        """Return sacreBLEU's BLEU, which tokenizes texts."""

    def make_sight(self) -> Sight:
        """Return the warning of references that are too short for n-grams of each length."""
        tokenizer = self.library().tokenizer
        return Sight(self.id, lambda text: tokenizer(text).split(), self.fix, needed=_ORDERS)

    @abstractmethod
    def of_counts(self, counts: Counts) -> float:
        """Return the score, from 0 to 1."""

    def scores(self, texts: Texts) -> dict[str, Scores]:
        """Return [N] the BLEU score of each output alone."""
        return {self.keys[0]: np.array([self.of_counts(row) for row in self.rows(texts)])}

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> dict[str, float]:
        """Return the BLEU score of the sums of all counts."""
        return {self.keys[0]: self.of_counts(self.rows(texts).sum(0))}


def closest(lengths: Sequence[int], length: int) -> int:
    """Return the one of ``lengths`` closest to ``length``, the shorter one of two."""
    return min(lengths, key=lambda other: (abs(other - length), other))


def shortest(lengths: Sequence[int], length: int) -> int:
    """Return the shortest of ``lengths``, whatever the output's."""
    return min(lengths)


def counting(library: Any, reference_length: Callable[[Sequence[int], int], int]) -> Scorer:
    """Return the function that counts the n-grams of a pair; it caches references.

    ``library`` is sacreBLEU's BLEU, which tokenizes texts. ``reference_length`` chooses one of the
    references' lengths, given that of the output.
    """

    def grams(text: str) -> tuple[Counter[tuple[str, ...]], int]:
        text = text.lower() if library.lowercase else text
        tokens = library.tokenizer(text.rstrip()).split()
        shifted = [tokens[first:] for first in range(_ORDERS)]
        by_length = (zip(*shifted[:n], strict=False) for n in range(1, _ORDERS + 1))
        return Counter(chain.from_iterable(by_length)), len(tokens)

    @lru_cache(_TEXTS_KEPT)
    def allowed(references: tuple[str, ...]) -> tuple[Counter[tuple[str, ...]], list[int]]:
        most: Counter[tuple[str, ...]] = Counter()
        lengths = []
        for reference in references:
            found, length = grams(reference)
            most = most | found if most else found
            lengths.append(length)
        return most, lengths

    def count(output: str, references: Sequence[str]) -> Row:
        own, length = grams(output)
        most, lengths = allowed(tuple(references))
        shared = [0] * _ORDERS
        for gram, number in own.items():
            if gram in most:
                shared[len(gram) - 1] += min(number, most[gram])
        total = [max(0, length - order) for order in range(_ORDERS)]
        return [length, reference_length(lengths, length), *shared, *total]

    return count


def _bleu(counts: Counts, **smoothing: Any) -> float:
    """Return sacreBLEU's score of counts, from 0 to 1."""
    from sacrebleu.metrics.bleu import BLEU

    found = BLEU.compute_bleu(
        correct=counts[2 : 2 + _ORDERS].tolist(),
        total=counts[2 + _ORDERS :].tolist(),
        sys_len=int(counts[0]),
        ref_len=int(counts[1]),
        **smoothing,
    )
    return float(found.score) / 100


class BleuArgs(PairwiseArgs):
    """Key of BLEU."""

    tokenize: Literal["none", "char"] = "none"
    """Tokenizer: ``none`` splits at spaces, as published; ``char`` splits into characters, for
    scripts without spaces between words."""


@METRICS.register("bleu")
class Bleu(CountedBleu[BleuArgs]):
    """BLEU on words between spaces, without smoothing, against the shortest reference's length.

    It follows the TensorFlow translation tutorial, whose code the published results used. Outputs
    that do not share an n-gram of each length score 0, as most short outputs do.
    """

    names = ("lexical/bleu",)
    Args = BleuArgs
    id: ClassVar[str] = "bleu"
    fix: ClassVar[str] = "set 'tokenize' to 'char'"

    def library(self) -> Any:
        """Return sacreBLEU's BLEU, which tokenizes texts."""
        from sacrebleu.metrics.bleu import BLEU

        return BLEU(tokenize=self.args.tokenize)

    def make_scorer(self) -> Scorer:
        """Return the n-gram counts of a pair."""
        return counting(self.library(), shortest)

    def of_counts(self, counts: Counts) -> float:
        """Return the score, from 0 to 1."""
        return _bleu(counts, smooth_method="none")


class SacreBleuArgs(PairwiseArgs):
    """Keys of sacreBLEU."""

    tokenize: Literal[
        "13a", "intl", "char", "zh", "ja-mecab", "ko-mecab", "spm", "flores101", "flores200",
        "spBLEU-1K", "none",
    ] | None = None  # fmt: skip
    """Tokenizer; None for "13a", which is for scripts with blanks between words. Some need packages
    or files beyond sacreBLEU."""
    lowercase: bool = False
    """If true, texts are lower-cased."""
    smooth_method: Literal["exp", "floor", "add-k", "none"] = "exp"
    """Smoothing of n-gram lengths without a match."""
    smooth_value: PositiveFloat | None = None
    """Number used by the smoothing "floor" or "add-k"; None for sacreBLEU's own."""
    use_effective_order: bool = False
    """If true, n-grams longer than the output are ignored; otherwise every output of fewer than
    four tokens scores 0."""
    force: bool = False
    """Accepted and ignored: it silences a warning that is never given here."""


@METRICS.register("sacre_bleu")
class SacreBleu(CountedBleu[SacreBleuArgs]):
    """sacreBLEU from 0 to 1, against the closest reference length."""

    names = ("lexical/sacrebleu",)
    Args = SacreBleuArgs
    id: ClassVar[str] = "sacre_bleu"
    fix: ClassVar[str] = "set 'tokenize' to 'char', or to 'zh' for Chinese"

    def prepare(self) -> None:
        """Check the tokenizer's packages and files."""
        self.library()

    def library(self) -> Any:
        """Return sacreBLEU's BLEU, which tokenizes texts.

        Raises:
            UserError: sacreBLEU lacks what the tokenizer needs.
        """
        from sacrebleu.metrics.bleu import BLEU

        args = self.args
        try:
            return BLEU(tokenize=args.tokenize, lowercase=args.lowercase)
        except (RuntimeError, ImportError, OSError, AssertionError) as error:
            raise UserError(
                f"'tokenize' = '{args.tokenize}': sacreBLEU cannot use it: {error}".strip()
            ) from error

    def make_scorer(self) -> Scorer:
        """Return the n-gram counts of a pair.

        Raises:
            UserError: sacreBLEU lacks what the tokenizer needs.
        """
        return counting(self.library(), closest)

    def of_counts(self, counts: Counts) -> float:
        """Return the score, from 0 to 1."""
        args = self.args
        return _bleu(
            counts,
            smooth_method=args.smooth_method,
            smooth_value=args.smooth_value,
            effective_order=args.use_effective_order,
        )

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> dict[str, float]:
        """Return the mean score of groups of inputs with equally many references, by group size."""
        counts = self.rows(texts)
        num_references = np.array([len(references) for references in texts.references])
        groups = [num_references == number for number in np.unique(num_references)]
        total = sum(group.sum() * self.of_counts(counts[group].sum(0)) for group in groups)
        return {self.keys[0]: float(total / len(texts))}
