"""A fit by the Trainer without a run around it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping


class Recorded:
    """Keeps the rows of a fit, which is neither stopped nor saved."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, float]] = []

    def begin_steps(self, num_steps: int, num_evaluations: int) -> None: ...

    def count_steps(self, done: int, epoch: float) -> None: ...

    def tell_progress(self) -> None: ...

    def is_stop_requested(self) -> bool:
        return False

    def is_save_due(self) -> bool:
        return False

    def writing_checkpoint(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def record(self, values: Mapping[str, float]) -> None:
        self.rows.append(values)

    def evaluate_on_the_way(self) -> dict[str, float]:
        return {}
