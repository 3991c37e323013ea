"""What the user is told of runs that a plan wants trained together and that are made alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from common.plan import Run


def notices(runs: Sequence[Run]) -> Iterator[str]:
    """One line per reason why some of the ``runs`` are made alone."""
    reasons = {run: run.config.why_alone() for run in runs}
    keys = {run: run.config.vectorize_key() for run in runs if reasons[run] is None}
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
