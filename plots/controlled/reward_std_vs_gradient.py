"""Each input's reward std against the norm of its expected gradient, before and after training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from plots import inputs
from plots.captions import from_to
from plots.methods import in_order, method
from plots.needs import planned
from plots.needs.wanted import Wanted
from plots.options import FigureOptions
from plots.runs import CHANGED, NUMBERS, OTHERS, load_runs, read_inputs
from plots.variants import Variant, subject, variants

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

WANTED = Wanted(
    read_inputs,
    "measurements of single inputs, some of them with a changed label (per_input.parquet)",
    "fix: set 'frac_samples_to_modify_labels' above 0, and leave 'diagnostics' on, in the plan",
    planned.changes_labels,
)
BEFORE = ""
"""Name, in the place of a method, of the state before training, which all methods share."""

_BOUND: dict[str, Any] = {
    "label": "bound: norm \u2264 std",
    "color": "#D55E00",
    "linestyle": (0, (4, 2)),
    "linewidth": 1.2,
}


class Options(FigureOptions):
    """Options of the figure of single inputs."""

    example: ClassVar[str] = "--no-log_axes"
    wanted = WANTED

    log_axes: bool = True
    """If true, both axes are logarithmic; values of zero or below 1e-12 are then drawn at the lower
    end, and counted."""


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one row per variant, with panels before and after training, and return the paths.

    In the logits, the expected gradient pi_y (r_y - V) has at most the norm of the reward's
    standard deviation: no point lies above the line.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run measured single inputs, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, WANTED, options.only)
    rows = variants(loaded)
    columns = [BEFORE, *in_order([run.method for run in loaded])]
    table = points(rows)
    low, high = _limits(table, log=options.log_axes)
    with canvas.styled():
        titles = [variant.title for variant in rows]
        figure, grid = canvas.panels(titles, len(columns), (2.9, 3.0), lines=2)
        figure.suptitle(subject(loaded))
        for title, axes_of_row in zip(titles, grid, strict=True):
            axes_of_row[0].set_ylabel("norm of expected gradient\nin the logits")
            for name, axes in zip(columns, axes_of_row, strict=True):
                here = (table["variant"] == title) & (table["method"] == name)
                _panel(axes, table[here], low)
                _scale(axes, low, high, log=options.log_axes)
        for axes in grid[-1]:
            axes.set_xlabel("reward std")
        canvas.legend(figure, [[_BOUND], *([look] for look in inputs.LOOKS.values())])
        return canvas.save(figure, table, stem)


def points(rows: Sequence[Variant]) -> pd.DataFrame:
    """Return the plotted numbers, one row per input and state of a run.

    The state before training, which has no method, is included once for all runs that share it.
    """
    import pandas as pd

    states = []
    for variant in rows:
        starts: list[pd.DataFrame] = []
        for run in itertools.chain(*variant.methods.values()):
            trained = run.table["epochs_trained"]
            start = run.table[trained == 0]
            if not any(_same(start, other) for other in starts):
                starts.append(start)
                states.append(((variant.title, BEFORE, run.path.name), start))
            end = run.table[(trained > 0) & (trained == trained.max())]
            states.append(((variant.title, run.method, run.path.name), end))
    keys, tables = zip(*states, strict=True)
    table: pd.DataFrame = pd.concat(tables, keys=keys, names=["variant", "method", "run"])
    table["part"] = table.pop("changed").map({True: CHANGED, False: OTHERS})
    return table.droplevel(-1).reset_index()


def _same(start: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two runs have the same initial state, up to rounding of different devices."""
    labels = ["input", "changed"]
    return np.array_equal(start[labels], other[labels]) and np.allclose(
        start[NUMBERS], other[NUMBERS], rtol=1e-3, atol=1e-9
    )


def _limits(table: pd.DataFrame, *, log: bool) -> tuple[float, float]:
    """Return the common ends of both axes.

    The lower one is the decade below the smallest positive number, or 0.
    """
    numbers = table[NUMBERS].to_numpy()
    high = float(numbers.max()) or 1.0
    if not log:
        return 0.0, high * 1.05
    smallest = float(numbers[numbers >= inputs.LOWEST].min(initial=high / 10))
    return 10.0 ** math.floor(math.log10(smallest)), high * 1.6


def _scale(axes: Axes, low: float, high: float, *, log: bool) -> None:
    """Set equal limits for both axes, and draw the bound."""
    margin = (low / 1.5, high) if log else (-0.03 * high, high)
    axes.set(xlim=margin, ylim=margin)
    if log:
        axes.set(xscale="log", yscale="log")
    axes.plot([low, high], [low, high], **_BOUND)
    axes.label_outer()


def _panel(axes: Axes, table: pd.DataFrame, floor: float) -> None:
    """Draw the inputs of one state.

    Those below ``floor`` are drawn at it, and a note counts them.
    """
    axes.set_box_aspect(1)
    if table.empty:
        axes.set_title("not measured")
        return
    axes.set_title(_state_in_words(table))
    below = inputs.scatter(axes, table, "reward_std", "logit_grad_norm", (floor, floor))
    if below:
        power = round(math.log10(floor))
        note = f"{below} of {len(table)} inputs below 1e{power}\n(drawn at the lower end)"
        box = {"color": "white", "pad": 1}
        axes.text(0.04, 0.96, note, transform=axes.transAxes, va="top", size="small", bbox=box)


def _state_in_words(table: pd.DataFrame) -> str:
    """Return the panel's title, such as ``"SFT (3 runs), after 500 epochs"``."""
    name, n = table["method"].iloc[0], table["run"].nunique()
    runs = f" ({n} runs)" if n > 1 else ""
    if name == BEFORE:
        return f"before training{runs}"
    trained = table["epochs_trained"]
    return f"{method(name).label}{runs},\nafter {from_to(trained)} epochs"
