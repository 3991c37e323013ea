"""What the user is told of runs that a plan wants trained together and that are made alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from common.hooks import asking
from common.plan import Run


def notices(runs: Sequence[Run]) -> Iterator[str]:
    """One line per reason why some of the ``runs`` are made alone."""
    reasons, keys = {}, {}
    for run in runs:
        with asking(run.experiment, "why_alone()"):
            reasons[run] = run.config.why_alone()
        if reasons[run] is None:
            with asking(run.experiment, "vectorize_key()"):
                keys[run] = run.config.vectorize_key()
                hash(keys[run])
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
