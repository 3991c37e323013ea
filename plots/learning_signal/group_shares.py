"""Shares of silent groups, held-out accuracy and pass@k of runs, over the samples drawn."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import UserError
from plots.captions import SAMPLES
from plots.runs import Run

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

SHARES = ("all wrong", "mixed", "all right")
"""Kinds of groups; a silent group is all wrong or all right."""
ACCURACY = "accuracy"


@dataclass(frozen=True)
class Measured:
    """Names of what is drawn of a run."""

    group_by: str
    """Metadata key of inputs, whose values are the levels of difficulty."""
    metric: str
    """Evaluation metric of right outputs, with its split."""
    k: int
    """Number of outputs of which one is to be right."""

    @property
    def pass_at_k(self) -> str:
        """Name of the quantity pass@k."""
        return f"pass@{self.k}"

    @property
    def quantities(self) -> tuple[str, ...]:
        """All quantities, one row of panels each."""
        return (*SHARES, ACCURACY, self.pass_at_k)

    def ending(self, level: str) -> str:
        """Return the end of the names of a level's metrics."""
        return f"_at_{self.group_by}_{level}"

    def evaluated(self, quantity: str, level: str) -> str:
        """Return the metric's name of an evaluated quantity at a level."""
        inner = "" if quantity == ACCURACY else f"/pass_at_k/{self.k}"
        return f"{self.metric}{inner}{self.ending(level)}"


def levels(runs: Sequence[Run], group_by: str) -> list[str]:
    """Return the levels at which the runs tell shares of groups, numbers in their order.

    Raises:
        UserError: there are none.
    """
    pattern = re.compile(rf"groups/mixed_at_{re.escape(group_by)}_(.+)")
    matches = [pattern.fullmatch(name) for run in runs for name in run.metrics]
    found = {match[1] for match in matches if match}
    if not found:
        raise UserError(
            f"nothing to draw: no run tells shares of groups by '{group_by}'\n  fix: set "
            f"'train_evaluation.group_by' to '{group_by}' in the plan"
        )
    return sorted(found, key=lambda level: (not level.isdigit(), level.zfill(20)))


def measured_ks(runs: Sequence[Run], metric: str) -> list[int]:
    """Return the values of k whose pass@k of a metric all runs measured, the largest last."""
    pattern = re.compile(rf"{re.escape(metric)}/pass_at_k/(\d+)_at_.+")
    of_runs = [
        {int(match[1]) for name in run.metrics if (match := pattern.fullmatch(name))}
        for run in runs
    ]
    return sorted(set.intersection(*of_runs))


def statistics(
    groups: Sequence[tuple[str, Sequence[Run]]], measured: Measured, num_points: int
) -> pd.DataFrame:
    """Return the plotted numbers over the runs of each line.

    They are mean, std (ddof 1; NaN for one run) and n. One row per point, with the columns line,
    level, quantity, samples, mean, std, n. A line ends where its shortest run does. The k-th
    evaluations of runs are one point, at the mean of their samples.

    Args:
        groups: runs of each line, by its name.
        measured: names of what is drawn.
        num_points: number of points of a line of shares.
    """
    import numpy as np
    import pandas as pd

    found = []
    every = levels([run for _, runs in groups for run in runs], measured.group_by)
    for (name, runs), level in itertools.product(groups, every):
        edges = np.linspace(0, min(run.table[SAMPLES].max() for run in runs), num_points + 1)
        of_runs = [curves(run, measured, level, edges) for run in runs]
        for quantity in dict.fromkeys(itertools.chain(*of_runs)):
            of_quantity = [of_run[quantity] for of_run in of_runs if quantity in of_run]
            size = min(len(values) for _, values in of_quantity)
            samples = np.mean([samples[:size] for samples, _ in of_quantity], axis=0)
            values = pd.DataFrame([values[:size] for _, values in of_quantity])
            points = {"line": name, "level": level, "quantity": quantity, "samples": samples}
            summary = {"mean": values.mean(), "std": values.std(), "n": values.count()}
            found.append(pd.DataFrame(points | summary))
    return pd.concat(found, ignore_index=True).dropna(subset="mean")


Curve = tuple["NDArray[np.float64]", "NDArray[np.float64]"]
"""Samples drawn, and the values of a quantity there."""


def curves(
    run: Run, measured: Measured, level: str, edges: NDArray[np.float64]
) -> Mapping[str, Curve]:
    """Return the curves of a run at a level: shares between the ``edges``, and evaluations.

    A share is that of all groups drawn between two edges.
    """
    return dict(
        itertools.chain(
            _shares(run.table, measured.ending(level), edges),
            _evaluations(run.table, measured, level),
        )
    )


def _shares(
    table: pd.DataFrame, ending: str, edges: NDArray[np.float64]
) -> Iterator[tuple[str, Curve]]:
    """Yield the shares of each kind of groups between the edges.

    A run that has drawn no group of the level yields none.
    """
    import numpy as np

    if f"groups/count{ending}" not in table:
        return
    rows = table.dropna(subset=SAMPLES).fillna({f"groups/count{ending}": 0})
    samples = [0, *rows[SAMPLES]]
    counts = rows[f"groups/count{ending}"]
    mixed = rows[f"groups/mixed{ending}"]
    kinds = {"mixed": mixed}
    if f"groups/all_best{ending}" in rows:  # of rewards whose largest value is known
        all_right = rows[f"groups/all_best{ending}"]
        kinds |= {"all wrong": 1 - mixed - all_right, "all right": all_right}

    def within(numbers: pd.Series) -> NDArray[np.float64]:
        """Return the sums between the edges, of rows cut in parts where an edge cuts them."""
        return np.diff(np.interp(edges, samples, [0, *numbers.fillna(0).cumsum()]))

    of_level = within(counts)
    centres = (edges[1:] + edges[:-1]) / 2
    for kind, share in kinds.items():
        with np.errstate(invalid="ignore"):  # no group of the level between two edges
            yield kind, (centres, within(share * counts) / of_level)


def _evaluations(
    table: pd.DataFrame, measured: Measured, level: str
) -> Iterator[tuple[str, Curve]]:
    """Yield accuracy and pass@k where they were measured."""
    for quantity in (ACCURACY, measured.pass_at_k):
        name = measured.evaluated(quantity, level)
        if name in table:
            rows = table[[SAMPLES, name]].dropna(subset=name).fillna({SAMPLES: 0})
            yield quantity, (rows[SAMPLES].to_numpy(), rows[name].to_numpy())
