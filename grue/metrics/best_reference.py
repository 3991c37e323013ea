"""Best score over an input's references, of a function that scores pairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grue.metrics.metric import Scores
from grue.texts import Texts


def best_over_references(texts: Texts, score: Callable[[list[str], list[str]], Scores]) -> Scores:
    """Return [N] the best score of each output over its references.

    ``score`` returns [M] scores of M outputs and M references; it is called once, for all pairs.
    Every input has at least one reference (`Texts.check_references`).
    """
    if not len(texts):
        return np.zeros(0)
    counts = [len(references) for references in texts.references]
    outputs = [
        output for output, count in zip(texts.outputs, counts, strict=True) for _ in range(count)
    ]
    references = [reference for found in texts.references for reference in found]
    starts = np.cumsum([0, *counts[:-1]])
    best: Scores = np.maximum.reduceat(score(outputs, references), starts)
    return best
