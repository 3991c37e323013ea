"""How much of a text is numbers that grow: a synthetic objective."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.config.base import Config
from common.config.fit import NonNegativeInt
from grue.metrics.metric import METRICS, Metric, Scores
from grue.texts import Texts


class IncreasingNumbersArgs(Config):
    """The key of the increasing numbers."""

    min_tokens: NonNegativeInt
    """Twice the pieces that a shorter text is taken to have, so that one number is not enough."""


@METRICS.register("increasing_numbers")
class IncreasingNumbers(Metric[IncreasingNumbersArgs]):
    """The share of growing numbers, from 0 to 1."""

    Args = IncreasingNumbersArgs

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """[N] shares."""
        found = [growing_share(text, self.args.min_tokens) for text in texts.outputs]
        return {"synthetic/increasing_numbers_in_text": np.array(found, np.float64)}


def growing_share(text: str, min_tokens: int) -> float:
    """Numbers of the strictly growing run with which a text's numbers begin, per piece.

    Pieces are what blanks separate, ``min_tokens`` / 2 at the least. A number is what ``float``
    reads, among it "nan" and "1e3", but not "1,". Pieces between numbers do not end the run.
    """
    pieces = text.split()
    numbers = [number for number in map(_number, pieces) if number is not None]
    if not numbers:
        return 0.0
    run = 1
    while run < len(numbers) and numbers[run] > numbers[run - 1]:
        run += 1
    return run / max(len(pieces), min_tokens / 2)


def _number(piece: str) -> float | None:
    try:
        return float(piece)
    except ValueError:
        return None
