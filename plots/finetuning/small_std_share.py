"""Share of inputs with a small reward std before finetuning against what RFT reaches of SFT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from common.errors import Problem, UserError
from plots import lines
from plots.captions import from_to
from plots.finetuning.correlation import pearson, spearman
from plots.finetuning.rewards import RFT, SFT, Finetuned, finetuned, not_before_and_after
from plots.needs.planned import PlannedRun
from plots.options import FigureOptions
from plots.runs import load_runs
from plots.sampled.stats import WANTED, low_std_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

_SIZE = (6.0, 3.2)


class Options(FigureOptions):
    """Options of the figure of shares."""

    example: ClassVar[str] = "--low_std 0.05"
    wanted = WANTED
    metric_keys = ("metric",)

    metric: str | None = None
    """Reward; None for the first metric of each data set."""
    low_std: float | None = None
    """Reward std below which an input counts as small; None for the runs' own
    ``evaluation.low_std``."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a threshold that is not above zero."""
        if self.low_std is not None and self.low_std <= 0:
            yield Problem("must be greater than 0", "low_std", self.low_std)

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from super().lacking(runs)
        yield from not_before_and_after(runs)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one point per data set, and return the written paths.

    A point is the mean over seeds of the mean reward after RFT, divided by that after SFT from the
    same model, and its bar is one standard deviation to each side.

    Args:
        runs: plan folders and run folders; of a plan, the runs that sample.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no data set was sampled before and after both, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    sampled = load_runs(runs, WANTED, options.only)
    low_std = low_std_of(sampled, options.low_std)
    table = points(finetuned(sampled, options.metric), low_std)
    with canvas.styled():
        figure, (axes,) = canvas.wrapped(1, 1, _SIZE, lines=len(table) + 3)
        looks = [look for look, _ in zip(lines.looks(), range(len(table)), strict=False)]
        _panel(axes, table, looks)
        axes.set_xlabel(f"share of inputs with a reward std below {low_std:g} before finetuning")
        axes.set_ylabel("mean reward after RFT\n/ mean reward after SFT")
        entries = [
            {"label": lines.plain(name), **look, "linestyle": "none"}
            for name, look in zip(table["dataset"], looks, strict=True)
        ]
        canvas.legend(figure, [entries], caption=_caption(table))
        return canvas.save(figure, table, stem)


def points(found: Sequence[Finetuned], low_std: float) -> pd.DataFrame:
    """Return the plotted numbers, one row per data set and first model.

    Columns: dataset, start, metric, inputs, samples, small_std_share, before, rft, sft (mean
    rewards), ratio (mean over seeds, each with its own SFT where both have the seed, otherwise with
    the mean over SFT's seeds), ratio_std (ddof 1; NaN for one seed), seeds.

    Raises:
        UserError: no data set has both kinds of finetuning from one model.
    """
    import pandas as pd

    groups: dict[tuple[str, str], list[Finetuned]] = {}
    for one in found:
        groups.setdefault((one.dataset, one.start), []).append(one)
    rows = []
    for (dataset, start), runs in groups.items():
        rft, sft = (_by_seed(runs, method) for method in (RFT, SFT))
        if rft.empty or sft.empty:
            continue
        ratio = rft / sft.reindex(rft.index).fillna(sft.mean())
        before = runs[0].before
        rows.append(
            {
                "dataset": dataset,
                "start": start,
                "metric": runs[0].metric,
                "inputs": len(before),
                "samples": before["n"].max(),
                "small_std_share": (before["std"] < low_std).mean(),
                "before": before["mean"].mean(),
                "rft": rft.mean(),
                "sft": sft.mean(),
                "ratio": ratio.mean(),
                "ratio_std": ratio.std(),
                "seeds": len(ratio),
            }
        )
    if not rows:
        raise UserError(
            "nothing to draw: no data set was sampled after RFT and after SFT of one model\n"
            "  fix: in the plan, sample '@<id>.model' of both with equal keys of 'datapool'"
        )
    table = pd.DataFrame(rows)
    if table["dataset"].duplicated().any():
        table["dataset"] += ", from " + table["start"]
    return table.sort_values("small_std_share", kind="stable", ignore_index=True)


def _by_seed(runs: Sequence[Finetuned], method: str) -> pd.Series:
    """Return the mean reward after each run of a method, by its seed."""
    import pandas as pd

    means = [(one.seed, one.after["mean"].mean()) for one in runs if one.method == method]
    return pd.DataFrame(means, columns=["seed", "mean"]).groupby("seed")["mean"].mean()


def _panel(axes: Axes, table: pd.DataFrame, looks: Sequence[dict[str, Any]]) -> None:
    """Draw the points, and the line where RFT reaches what SFT does."""
    axes.axhline(1, color="dimgray", linewidth=1.0, linestyle=(0, (4, 2)))
    x, y, bars = table[["small_std_share", "ratio", "ratio_std"]].to_numpy(float).T
    for place, look in enumerate(looks):
        axes.errorbar(x[place], y[place], bars[place], capsize=3, markersize=7,
                      **{**look, "linestyle": "none"})  # fmt: skip
    axes.set_xlim(-0.03, 1.03)
    axes.set_ylim(0)
    if len(table) > 2:
        axes.set_title(f"Pearson {pearson(x, y)}, Spearman {spearman(x, y)}")


def _caption(table: pd.DataFrame) -> str:
    n, samples, seeds = (from_to(table[key]) for key in ("inputs", "samples", "seeds"))
    several = table["seeds"].max() > 1
    bars = f"\nbars: \u00b1 1 standard deviation over {seeds} seeds" if several else ", one seed"
    return f"n = {n} inputs, K = {samples} samples of each{bars}; [95 % interval]"
