"""Metrics that a configuration may name."""

from __future__ import annotations

from typing import Any

from grue.metrics import (
    bleu,
    chrf,
    cider,
    common_gen,
    dates,
    diversity,
    increasing_numbers,
    length,
    matches,
    meteor,
    rouge,
    rouge_l_max,
    spice,
    ter,
)
from grue.metrics.answers import exact_answer, math_verify, reasoning_gym
from grue.metrics.by_models import (
    bert_score,
    bleurt,
    causal_perplexity,
    intent_accuracy,
    learned_preference,
    learned_reward,
    summac,
)
from grue.metrics.custom import as_metric
from grue.metrics.metric import METRICS, Metric
from grue.metrics.totto import bleu as bleu_totto
from grue.metrics.totto import parent as parent_totto


def find(name: str) -> type[Metric[Any]]:
    """Return the metric called ``name``.

    Raises:
        UserError: there is no metric of this name.
    """
    return as_metric(METRICS.get(name))
