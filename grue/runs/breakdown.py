"""Numbers of an evaluation beside those of all outputs: pass@k, and means by groups of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from grue.metrics.metric import Metric, Scores
from grue.rl.pass_at_k import mean_pass_at_k
from grue.rl.selection import at_least
from grue.texts import groups


def asks_for_scores(metric: Metric[Any], *, num_samples: int, group_by: str | None) -> bool:
    """Return whether `breakdown` has numbers of a metric, for which it needs scores."""
    has_pass_at_k = num_samples > 1 and bool(metric.largest)
    return metric.has_scores and (has_pass_at_k or group_by is not None)


def breakdown(
    metric: Metric[Any],
    scores: Mapping[str, Scores],
    metadata: Sequence[Mapping[str, Any]],
    *,
    num_samples: int,
    group_by: str | None,
) -> dict[str, float]:
    """Return pass@k of the metric's right outputs, and all means by groups of inputs.

    The name of a group's number ends with ``_at_<group_by>_<value>``.

    Args:
        metric: metric of the outputs.
        scores: its scores [B K] of K outputs of each of B inputs, input by input.
        metadata: [B K] metadata of the outputs' inputs.
        num_samples: K; pass@k needs at least 2.
        group_by: name of the metadata whose values make groups; None for no groups.
    """
    found = _pass_at_k(metric, scores, num_samples)
    if group_by is not None:
        for value, rows in groups(metadata, group_by).items():
            of_group = {key: values[rows] for key, values in scores.items()}
            numbers = {key: float(values.mean()) for key, values in of_group.items()}
            numbers |= _pass_at_k(metric, of_group, num_samples)
            found |= {f"{key}_at_{group_by}_{value}": number for key, number in numbers.items()}
    return found


def _pass_at_k(
    metric: Metric[Any], scores: Mapping[str, Scores], num_samples: int
) -> dict[str, float]:
    """Return pass@k of each key whose largest score is known; nothing for one output per input."""
    if num_samples == 1:
        return {}
    return {
        f"{key}/pass_at_k/{k}": share
        for key, largest in metric.largest.items()
        for k, share in mean_pass_at_k(
            at_least(scores[key].reshape(-1, num_samples), largest)
        ).items()
    }
