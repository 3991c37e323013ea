"""Ground truth reward of log-linear runs by the inner product of two outputs' features."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from plots import lines
from plots.log_linear import curves, panels
from plots.options import FigureOptions


class Options(FigureOptions):
    """Options of the figure of features."""

    example: ClassVar[str] = "--only inprod"
    wanted = curves.EXACT


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one line per inner product of the best and of the mediocre output's features.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: there are no exact log-linear runs, or the files cannot be written.
    """
    import pandas as pd

    from plots import canvas  # matplotlib, which checking options does not need

    loaded = curves.load(runs, options.only, sampled=False)
    products = sorted({curve.inner_product for curve in loaded})
    table = pd.concat(
        [
            curves.bands(
                [curve for curve in loaded if curve.inner_product == product], curves.REWARD
            ).assign(inner_product=product)
            for product in products
        ],
        ignore_index=True,
    )
    with canvas.styled():
        figure, (axes,) = canvas.wrapped(1, 1, (5.0, 3.4), lines=len(products))
        entries = []
        for place, (product, look) in enumerate(zip(products, lines.looks(), strict=False)):
            plain = {"color": look["color"], "linestyle": lines.DASHES[place % len(lines.DASHES)]}
            panels.draw_band(axes, table[table["inner_product"] == product], plain)
            label = rf"$\langle\phi(y^*), \phi(y_\mathrm{{med}})\rangle = {product:g}$"
            entries.append({"label": label, **plain})
        axes.axhline(loaded[0].mediocre_reward, **panels.STALL)
        axes.set(xlabel="update", ylabel="expected ground truth reward")
        stalled = {"label": "reward of the mediocre output", **panels.STALL}
        canvas.legend(figure, [entries, [stalled]])
        return canvas.save(figure, table, stem)
