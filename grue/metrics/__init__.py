"""The metrics that a configuration may name."""

from __future__ import annotations

from typing import Any

from grue.metrics import (  # noqa: F401
    bert_score,
    bleu,
    bleu_totto,
    bleurt,
    causal_perplexity,
    chrf,
    cider,
    common_gen,
    dates,
    diversity,
    increasing_numbers,
    intent_accuracy,
    learned_preference,
    learned_reward,
    length,
    matches,
    meteor,
    parent_totto,
    rouge,
    rouge_l_max,
    spice,
    summac,
    ter,
)
from grue.metrics.custom import as_metric
from grue.metrics.metric import METRICS, Metric


def find(name: str) -> type[Metric[Any]]:
    """The metric called ``name``.

    Raises:
        UserError: there is none.
    """
    return as_metric(METRICS.get(name))
