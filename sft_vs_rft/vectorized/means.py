"""Epoch means of the measurements of R runs, with one transfer from the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from common.training.epoch_means import NonFiniteError


class StackedReport:
    """Measurements of R runs on one batch: [R] by name; a run may lack a name."""

    def __init__(
        self,
        values: Mapping[str, Tensor],
        weights: Mapping[str, float],
        present: Mapping[str, Tensor],
    ) -> None:
        """Collect the measurements of a batch.

        Args:
            values: [R] by name.
            weights: the batch's weight in the mean of a name, if it is not 1.
            present: [R] bool on the CPU, by name, for names that some runs may lack.
        """
        self.values = values
        self.weights = weights
        self.present = present

    def of_run(self, row: int) -> Mapping[str, Tensor]:
        """Return the measurements of one run."""
        return _RunReport(self, row)


class _RunReport(Mapping[str, Tensor]):
    """A run's part of a report, computed at first access, because few batches are logged."""

    def __init__(self, whole: StackedReport, row: int) -> None:
        self._whole = whole
        self._row = row

    def __getitem__(self, name: str) -> Tensor:
        if not self._has(name):
            raise KeyError(name)
        return self._whole.values[name][self._row]

    def _has(self, name: str) -> bool:
        present = self._whole.present.get(name)
        return present is None or bool(present[self._row])

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._whole.values if self._has(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class StackedMeans:
    """Epoch means of R runs; each run's are those of `EpochMeans`."""

    def __init__(self, num_runs: int) -> None:
        self._num_runs = num_runs
        self._reports: list[StackedReport] = []
        self._values: list[Tensor] = []

    def add(self, report: StackedReport) -> None:
        """Add one batch."""
        self._reports.append(report)
        self._values.append(torch.stack(list(report.values.values())))

    def result(self) -> list[dict[str, float] | NonFiniteError]:
        """Return each run's mean of each name over its batches, or its bad number."""
        rows = [(step, name) for step, r in enumerate(self._reports) for name in r.values]
        values = torch.cat(self._values).cpu().double().numpy()  # [L, R], L names of all batches
        always = torch.ones(self._num_runs, dtype=torch.bool)
        present = torch.stack(
            [self._reports[step].present.get(name, always) for step, name in rows]
        ).numpy()  # [L, R]
        weights = np.array([[self._reports[s].weights.get(n, 1.0)] for s, n in rows])  # [L, 1]
        names = list(dict.fromkeys(name for _, name in rows))
        place = {name: number for number, name in enumerate(names)}
        of_name = [place[name] for _, name in rows]
        bad = present & ~np.isfinite(values)
        sums, totals = np.zeros((2, len(names), self._num_runs))
        np.add.at(sums, of_name, np.where(present & ~bad, weights * values, 0.0))
        np.add.at(totals, of_name, weights * present)
        means = (sums / np.where(totals == 0, 1.0, totals)).T.tolist()  # [R, names]
        return [
            _non_finite(rows, values[:, run], bad[:, run])
            if bad[:, run].any()
            else {name: means[run][i] for i, name in enumerate(names) if totals[i, run]}
            for run in range(self._num_runs)
        ]


def _non_finite(rows: list[tuple[int, str]], values: np.ndarray, bad: np.ndarray) -> NonFiniteError:
    """Return the first number of a run's ``values`` [L] that is not finite."""
    first = int(bad.argmax())
    step, name = rows[first]
    return NonFiniteError(f"step {step}: '{name}' = {values[first]}")
