"""Share of increasing numbers in a text, a synthetic objective."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.config.base import Config
from common.config.fit import NonNegativeInt
from grue.metrics.metric import METRICS, Metric, Scores
from grue.texts import Texts


class IncreasingNumbersArgs(Config):
    """Key of the increasing numbers."""

    min_tokens: NonNegativeInt
    """Twice the smallest number of pieces that the share is taken of, so that a short text with one
    number does not score 1."""


@METRICS.register("increasing_numbers")
class IncreasingNumbers(Metric[IncreasingNumbersArgs]):
    """Share of increasing numbers, from 0 to 1."""

    names = ("synthetic/increasing_numbers_in_text",)
    Args = IncreasingNumbersArgs

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] shares."""
        found = [growing_share(text, self.args.min_tokens) for text in texts.outputs]
        return {"synthetic/increasing_numbers_in_text": np.array(found, np.float64)}


def growing_share(text: str, min_tokens: int) -> float:
    """Return the length of the initial increasing run of a text's numbers, per piece.

    Pieces are separated by blanks, and count as at least ``min_tokens`` / 2. A number is a piece
    that ``float`` parses, such as "nan" and "1e3" but not "1,". Other pieces do not end the run,
    which is strictly increasing.
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
