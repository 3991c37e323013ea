"""Ends of processes, for people."""

from __future__ import annotations

import signal


def how_it_ended(code: int | None, process: str = "worker process") -> str:
    """Return how a process has ended; ``-n`` is an end by signal ``n``, else an exit status.

    None is an unknown one.
    """
    if code is None:
        return f"its {process} ended, and with it whoever knew its exit status"
    if code >= 0:
        return f"its {process} ended with exit status {code}"
    known = set(signal.Signals)
    name = signal.Signals(-code).name if -code in known else f"signal {-code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"its {process} was ended by {name}{hint}"
