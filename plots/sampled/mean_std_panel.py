"""Panel of reward means and stds: a dot per input, and histograms of inputs along both axes."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from plots.inputs import dot

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

LOOKS: dict[bool, dict[str, Any]] = {
    True: {"color": "#D55E00", "marker": "o", "linestyle": "none"},
    False: {"color": "#0072B2", "marker": "o", "linestyle": "none"},
}
"""Styles of dots by whether an input's std is low."""
THRESHOLD: dict[str, Any] = {"color": "#D55E00", "linestyle": (0, (4, 2)), "linewidth": 1.0}
_PLACES = 300
"""Number of places along an axis: inputs at the same place are drawn as one dot."""
_LARGEST_DOT = 110.0
_TITLE_WIDTH = 44


def draw_panel(axes: Axes, inputs: pd.DataFrame, low_std: float) -> None:
    """Draw the inputs of one run, the threshold and the histograms, and write the shares."""
    axes.axhline(low_std, **THRESHOLD)
    _dots(axes, inputs)
    above = axes.inset_axes((0, 1.03, 1, 0.2), sharex=axes)
    beside = axes.inset_axes((1.03, 0, 0.2, 1), sharey=axes)
    _histogram(above, inputs, "mean", axes.get_xlim(), "vertical")
    _histogram(beside, inputs, "std", axes.get_ylim(), "horizontal")
    name = textwrap.fill(inputs["panel"].iloc[0], _TITLE_WIDTH)
    low, zero = inputs["low_std"].mean(), inputs["zero_std"].mean()
    shares = f"std below {low_std:g}: {_percent(low)}, zero: {_percent(zero)}"
    above.set_title(f"{name}\n{shares}", parse_math=False)


def _histogram(
    axes: Axes,
    inputs: pd.DataFrame,
    column: str,
    limits: tuple[float, float],
    orientation: Literal["vertical", "horizontal"],
) -> None:
    """Draw the histogram of inputs along one axis of a panel, and write its largest share.

    If it is far above all others, its bar is cut off and marked by an arrow.
    """
    low = inputs["low_std"]
    num_bins = min(30, 10 + math.isqrt(len(inputs)))
    shares, _, _ = axes.hist(
        [inputs.loc[low, column], inputs.loc[~low, column]],
        bins=np.linspace(*limits, num_bins + 1).tolist(),
        weights=[np.full(int(part.sum()), 1 / len(inputs)) for part in (low, ~low)],
        color=[LOOKS[True]["color"], LOOKS[False]["color"]],
        orientation=orientation,
        stacked=True,
    )
    second, largest = np.sort(np.asarray(shares)[-1])[-2:]
    is_cut = largest > 3 * second > 0
    end = 2 * second if is_cut else largest
    along: Axis
    across: Axis
    if orientation == "vertical":
        along, across, arrow = axes.xaxis, axes.yaxis, "\u2191"
        axes.set_ylim(0, end)
    else:
        along, across, arrow = axes.yaxis, axes.xaxis, "\u2192"
        axes.set_xlim(0, end)
    along.set_tick_params(length=0, labelbottom=False, labelleft=False)
    across.set_ticks([end], [f"{_percent(largest)}{arrow if is_cut else ''}"])
    across.set_tick_params(length=0, labelsize="x-small", labelcolor="dimgray")
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"


def _dots(axes: Axes, inputs: pd.DataFrame) -> None:
    """Draw a dot per input; inputs at the same place share one larger and darker dot."""
    rounded = inputs[["mean", "std"]].copy()
    for column, limits in (("mean", axes.get_xlim()), ("std", axes.get_ylim())):
        step = (limits[1] - limits[0]) / _PLACES
        rounded[column] = (inputs[column] / step).round() * step
    places = rounded.groupby([inputs["low_std"], "mean", "std"]).size().reset_index(name="count")
    area, alpha = dot(len(inputs))
    for low in places["low_std"].unique():
        dots = places[places["low_std"] == low]
        axes.scatter(
            dots["mean"],
            dots["std"],
            s=np.minimum(area * dots["count"] ** 0.5, _LARGEST_DOT),
            alpha=np.minimum(1 - (1 - alpha) ** dots["count"], 0.9),
            color=LOOKS[low]["color"],
            linewidths=0,
            rasterized=True,
        )
