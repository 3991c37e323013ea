"""Losses of reward models, as functions of the scores or rating logits of compared responses.

B is the number of examples and n the number of responses of each. The output for a response is
either one score or k logits, the distribution of a rating 1 ... k. All losses are [B], in nats if
they are likelihoods; the caller takes the mean over the batch.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from common.training.shape_checks import check_shape

MarginMode = Literal["paired", "broadcast", "none"]


def best_of_n_loss(scores: Tensor, best: Tensor) -> Tensor:
    """Return -log softmax(scores)[best] (arXiv 1909.08593, eq. 1).

    Args:
        scores: [B, n].
        best: [B] int64, position of the preferred response.
    """
    return functional.cross_entropy(scores, best, reduction="none")


def pairwise_loss(
    chosen: Tensor,
    rejected: Tensor,
    margins: Tensor,
    *,
    margin: MarginMode = "paired",
    centring: float = 0.0,
) -> Tensor:
    """Return -log sigmoid(r_c - r_r - m) + centring (r_c + r_r)^2 (arXiv 2307.09288, 2312.09244).

    Args:
        chosen: [B] scores.
        rejected: [B] scores.
        margins: [B] margin m by which the chosen one should be better, in units of the score.
        margin: ``paired`` gives each pair its own margin, ``broadcast`` the mean loss over the
            margins of all pairs in the batch (what trl 0.14 does), ``none`` leaves them out.
        centring: weight of the pull of a pair's scores towards a sum of zero.
    """
    check_shape("rejected", rejected, chosen.shape)
    check_shape("margins", margins, chosen.shape)
    differences = chosen - rejected
    if margin == "none":
        losses = -functional.logsigmoid(differences)
    elif margin == "paired":
        losses = -functional.logsigmoid(differences - margins)
    else:
        losses = -functional.logsigmoid(differences[:, None] - margins[None]).mean(1)
    return losses + centring * (chosen + rejected).square()


def rating_loss(scores: Tensor, ratings: Tensor) -> Tensor:
    """Return [B] the squared error of scores [B] as predictions of ratings [B]."""
    check_shape("ratings", ratings, scores.shape)
    return (scores - ratings).square()


def comparison_loss(first: Tensor, second: Tensor, differences: Tensor) -> Tensor:
    """Return [B] the squared error of ``second - first`` as prediction of ``differences``."""
    return rating_loss(second - first, differences)


def probability_rated_higher(first: Tensor, second: Tensor) -> Tensor:
    """Return P(i > j) for independent ratings i and j; equal ones count for neither side.

    Args:
        first: [..., k] logits of i.
        second: [..., k] logits of j.

    Returns:
        [...] sum over i of p(i) times the probability of all smaller j.
    """
    return _log_probability_rated_higher(first, second).exp()


def _log_probability_rated_higher(first: Tensor, second: Tensor) -> Tensor:
    """Return [...] log P(i > j) in nats, also if the probability is too small for a number."""
    check_shape("second", second, first.shape)
    pairs = first.log_softmax(-1)[..., :, None] + second.log_softmax(-1)[..., None, :]
    k = first.shape[-1]
    higher, lower = torch.tril_indices(k, k, offset=-1, device=first.device)
    return pairs[..., higher, lower].logsumexp(-1)


def probabilistic_loss(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Return [B] -log P(chosen is rated higher), for rating logits [B, k] of both.

    Equal uniform distributions over ten ratings give 0.798508, the smallest value for equal
    distributions, since P = (1 - sum p^2) / 2. The published code adds 1e-8 to P, which leaves
    pairs that are far in the wrong order without a gradient.
    """
    return -_log_probability_rated_higher(chosen, rejected)
