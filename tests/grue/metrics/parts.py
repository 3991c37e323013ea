"""Metrics made from their keys, and texts to score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from grue import metrics
from grue.metrics.metric import Metric
from grue.nltk_data import WORDNET, why_missing
from grue.texts import Texts
from tests.tools import skip_without

CAT = "the cat sat on the mat", "the cat is on the mat"
DOG = "A dog runs in the park.", "A dog runs in the park."
BOY = "boys pick apples", "A boy is picking apples from trees."

ROUGE = [f"lexical/rouge_{name}" for name in ("rouge1", "rouge2", "rougeL", "rougeLsum")]


def texts(*pairs: tuple[str, ...], prompts: Sequence[str] | None = None) -> Texts:
    """Outputs, each followed by its references."""
    outputs, references = [pair[0] for pair in pairs], [pair[1:] for pair in pairs]
    return Texts(prompts or [""] * len(pairs), outputs, references, [{}] * len(pairs))


def make(name: str, **args: Any) -> Metric[Any]:
    part = metrics.find(name)
    return part(part.Args.model_validate(args))


def scores(name: str, *pairs: tuple[str, ...], **args: Any) -> np.ndarray:
    """[N] of a metric with one key."""
    (values,) = make(name, **args).scores(texts(*pairs)).values()
    return values


def corpus(name: str, *pairs: tuple[str, ...], **args: Any) -> float:
    (value,) = make(name, **args).corpus(texts(*pairs)).values()
    return value


def without_wordnet() -> str | None:
    """Why METEOR cannot be computed here, if it cannot."""
    return why_missing(WORDNET)


def needs_wordnet() -> None:
    skip_without("wordnet", without_wordnet())
