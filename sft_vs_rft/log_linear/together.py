"""Several log-linear runs made together, as one batch of tables."""

from __future__ import annotations

import time
from collections.abc import Sequence

from common.experiment import Member
from common.training.epoch_means import NonFiniteError, check_finite
from sft_vs_rft.log_linear.experiment import LogLinearExperiment
from sft_vs_rft.log_linear.trainer import LogLinearTrainer, Stack
from sft_vs_rft.vectorized.members import MemberFit, make_together

Fit = MemberFit[LogLinearTrainer]


def run_together(members: Sequence[Member]) -> None:
    """Make log-linear runs with equal ``vectorize_key()`` in their folders; end each of them."""
    make_together(members, lambda member, fits: prepared(member), train_to_next_row)


def prepared(member: Member) -> Fit:
    """Return a run that stands where it begins, or is resumed."""
    return Fit(member, LogLinearExperiment(member.config, member.context))


def train_to_next_row(fits: Sequence[Fit]) -> None:
    """Train the runs that are least far, and whose tables have one size, to their next row."""
    place = min(map(_place, fits))
    least_far = [fit for fit in fits if _place(fit) == place]
    trainers = [fit.trainer for fit in least_far]
    started = time.perf_counter()
    found = Stack(trainers).train(trainers[0].next_epoch - trainers[0].epoch)
    seconds = time.perf_counter() - started
    for fit, metrics in zip(least_far, found, strict=True):
        fit.end_epoch([_checked(metrics)], seconds)


def _place(fit: Fit) -> tuple[int, tuple[int, ...]]:
    return fit.trainer.epoch, fit.trainer.task.setting.shape


def _checked(metrics: dict[str, float]) -> dict[str, float] | NonFiniteError:
    try:
        return check_finite(metrics, "step 0")
    except NonFiniteError as error:
        return error
