"""Each input's expected gradient in all parameters against its bound, from start to end."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.errors import Problem
from plots import inputs
from plots.captions import from_to
from plots.methods import method
from plots.needs import planned
from plots.needs.wanted import Wanted
from plots.options import FigureOptions
from plots.runs import CHANGED, OTHERS, Run, load_runs, read_bounds
from plots.variants import Variant, subject, variants

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WANTED = Wanted(
    read_bounds,
    "both sides of the bound for single inputs, some with a changed label (theory.parquet)",
    "fix: set 'theory_every', and 'frac_samples_to_modify_labels' above 0, in the plan",
    lambda run: planned.changes_labels(run) and run.key("theory_every") is not None,
)
_BOUND: dict[str, Any] = {
    "label": r"bound 6 $\gamma$ STD$^{2/3}$ (median input)",
    "color": "#D55E00",
    "linestyle": "solid",
    "linewidth": 1.3,
}
_RANGE: dict[str, Any] = {
    "label": "bounds of all inputs",
    "color": "#D55E00",
    "alpha": 0.25,
    "linewidth": 8,
}
_ONE_STEP: dict[str, Any] = {
    "label": r"one-step bound $\gamma$ STD (median input)",
    "color": "#009E73",
    "linestyle": (0, (4, 2)),
    "linewidth": 1.3,
}


class Options(FigureOptions):
    """Options of the figure of the bound."""

    example: ClassVar[str] = "--columns 5"
    wanted = WANTED

    columns: int = 4
    """Number of panels in a row: measured epochs at even distances, including the first and the
    last."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of too few panels for both ends."""
        if self.columns < 2:
            yield Problem("must be at least 2", "columns", self.columns)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one row per variant and method, with panels from start to end, and return the paths.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run measured the bound, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, WANTED, options.only)
    rows = _rows(variants(loaded))
    table = points(rows, options.columns)
    floors = inputs.floor_of(table["reward_std"]), inputs.floor_of(table["grad_norm"])
    tops = 1.6 * table["reward_std"].max(), 50 * table[["grad_norm", "bound"]].to_numpy().max()
    with canvas.styled():
        figure, grid = canvas.panels(list(rows), options.columns, (2.7, 2.6))
        figure.suptitle(subject(loaded))
        for (title, axes_of_row), column in itertools.product(
            zip(rows, grid, strict=True), range(options.columns)
        ):
            here = table[(table["row"] == title) & (table["panel"] == column)]
            _scale(axes_of_row[column], floors, tops)
            _panel(axes_of_row[column], here, floors)
        for axes_of_row in grid:
            axes_of_row[0].set_ylabel("norm of expected gradient\nin all parameters")
        for axes in grid[-1]:
            axes.set_xlabel("reward std")
        looks = list(inputs.LOOKS.values())
        canvas.legend(figure, [[_BOUND, _RANGE, _ONE_STEP], looks])
        return canvas.save(figure, table, stem)


def _rows(groups: Sequence[Variant]) -> dict[str, list[Run]]:
    """Return the runs of each row by its title: variant, method and number of runs."""
    rows = {}
    for variant in groups:
        for name, runs in variant.methods.items():
            count = f" ({len(runs)} runs)" if len(runs) > 1 else ""
            rows[", ".join(filter(None, [variant.title, method(name).label + count]))] = runs
    return rows


def points(rows: dict[str, list[Run]], columns: int) -> pd.DataFrame:
    """Return the plotted numbers, one row per input of each panel.

    A panel shows each run's last measurement up to the panel's epoch. Runs that ended early
    therefore appear in all later panels.
    """
    import pandas as pd

    states = {}
    for title, runs in rows.items():
        measured = sorted({epoch for run in runs for epoch in run.table["epochs_trained"]})
        places = np.linspace(0, len(measured) - 1, columns).round().astype(int)
        shown = dict.fromkeys(measured[place] for place in places)
        for (panel, epoch), run in itertools.product(enumerate(shown), runs):
            trained = run.table["epochs_trained"]
            state = run.table[trained == trained[trained <= epoch].max()]
            states[title, panel, run.method, run.path.name] = state
    table: pd.DataFrame = pd.concat(states, names=["row", "panel", "method", "run"])
    table["part"] = table.pop("changed").map({True: CHANGED, False: OTHERS})
    return table.droplevel(-1).reset_index()


def _panel(axes: Axes, table: pd.DataFrame, floors: tuple[float, float]) -> None:
    """Draw the inputs of one state with their bounds, and note how close they come."""
    if table.empty:
        axes.set_title("not measured")
        return
    trained = table["epochs_trained"]
    axes.set_title("before training" if trained.max() == 0 else f"after {from_to(trained)} epochs")
    below = inputs.scatter(axes, table, "reward_std", "grad_norm", floors)
    has_signal = table[table["reward_std"] > 0]
    if len(has_signal):
        _bounds(axes, has_signal)
    ratio = (has_signal["grad_norm"] / has_signal["bound"]).max()
    notes = [f"norm \u2264 {ratio:.1g} \u00d7 bound"] if len(has_signal) else []
    notes += [f"{below} of {len(table)} at the lower end"] if below else []
    box = {"color": "white", "pad": 1, "alpha": 0.8}
    axes.text(
        0.04, 0.97, "\n".join(notes), transform=axes.transAxes, va="top", size="small", bbox=box
    )


def _bounds(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the bounds as functions of the std: the median input's, and the range of all."""
    x = np.geomspace(*axes.get_xlim())
    factors = table["bound"] / table["reward_std"] ** (2 / 3)
    lines = [factor * x ** (2 / 3) for factor in factors.quantile([0, 0.5, 1])]
    band = {key: _RANGE[key] for key in ("color", "alpha")}
    axes.fill_between(x, lines[0], lines[2], linewidth=0, **band)
    axes.plot(x, lines[1], **_BOUND)
    axes.plot(x, table["jacobian_norm"].median() * x, **_ONE_STEP)


def _scale(axes: Axes, floors: tuple[float, float], tops: tuple[float, float]) -> None:
    """Set the same logarithmic axes for all panels."""
    axes.set(xscale="log", yscale="log")
    axes.set_xlim(floors[0] / 1.5, max(floors[0], tops[0]))
    axes.set_ylim(floors[1] / 1.5, max(floors[1], tops[1]))
    axes.label_outer()
