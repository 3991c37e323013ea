"""Notices on runs that the plan wants trained together and that are made alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Sequence

from common.custom.hooks import asking
from common.plan.run import Run


def why_alone(run: Run) -> str | None:
    """Return why a run is made alone; None if others may be made with it."""
    with asking(run.experiment, "why_alone()"):
        return run.config.why_alone()


def vectorize_key(run: Run) -> Hashable:
    """Return the key that a run shares with those that may be made with it."""
    with asking(run.experiment, "vectorize_key()"):
        key = run.config.vectorize_key()
        hash(key)
        return key


def notices(runs: Sequence[Run]) -> Iterator[str]:
    """Yield one line per reason why some of the ``runs`` are made alone."""
    reasons = {run: why_alone(run) for run in runs}
    keys = {run: vectorize_key(run) for run in runs if reasons[run] is None}
    alike = Counter(keys.values())
    alone: dict[str, list[Run]] = defaultdict(list)
    for run, reason in reasons.items():
        if reason is not None:
            alone[reason].append(run)
        elif alike[keys[run]] == 1:
            alone["no other run differs from it only in numbers and seeds"].append(run)
    for reason, own in alone.items():
        which = own[0].name if len(own) == 1 else f"{own[0].name} and {len(own) - 1} more"
        yield f"'vectorize': {which} made alone: {reason}"
