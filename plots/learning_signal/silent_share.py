"""Share of silent groups over training against the reward that runs end with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from common.errors import UserError
from common.run.folder import RunFolder
from plots import lines
from plots.captions import drawn_outputs, evaluated
from plots.finetuning.correlation import pearson, spearman
from plots.needs import planned
from plots.needs.wanted import Wanted
from plots.options import FigureOptions
from plots.runs import Run, load_runs, read_steps
from plots.variants import named_groups, subject

if TYPE_CHECKING:
    import pandas as pd

SILENT = "groups/constant"
"""Metric of the share of groups whose rewards are equal, so that they push nothing."""
_FIX = "fix: give runs that finetune by rewards with several outputs of each input"


def _read(folder: RunFolder) -> pd.DataFrame | None:
    table = read_steps(folder)
    return table if table is not None and SILENT in table else None


WANTED = Wanted(_read, f"'{SILENT}' in metrics.jsonl", _FIX, planned.draws_groups)


class Options(FigureOptions):
    """Options of the figure of silent groups and rewards."""

    example: ClassVar[str] = "--metric val/answer/accuracy"
    wanted = WANTED
    metric_keys = ("metric",)

    metric: str | None = None
    """Reward at the end: an evaluation metric with its split; None for the first on validation."""


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one dot per run: the mean over iterations of the share of silent groups, and the reward.

    Groups of K outputs whose chance p is that of a right one are silent with probability
    p^K + (1 - p)^K (arXiv 2503.14476 leaves them out for that). Both ends of training are silent:
    what cannot be done yet, and what can be done already. So the share is no measure of quality
    without the reward beside it.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run tells its silent groups and the metric, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    loaded = load_runs(runs, WANTED, options.only)
    groups = named_groups(loaded)
    table = points(groups, options.metric)
    x, y = table["silent_share"].to_numpy(), table["final"].to_numpy()
    looks: list[dict[str, Any]] = []
    with canvas.styled():
        figure, (axes,) = canvas.wrapped(1, 1, (5.0, 3.6), lines=(len(groups) + 1) // 2 + 3)
        for look, (name, _) in zip(lines.looks(), groups, strict=False):
            looks.append({"label": lines.plain(name), **look, "linestyle": "none"})
            own = table[table["line"] == name]
            axes.plot(own["silent_share"], own["final"], **looks[-1])
        axes.set_xlabel("share of silent groups, mean over training")
        axes.set_ylabel(f"{table['metric'].iloc[0]} at the end", parse_math=False)
        axes.set_title(f"Pearson {pearson(x, y)}\nSpearman {spearman(x, y)}", fontsize="small")
        figure.suptitle(subject(loaded), parse_math=False)
        columns = [looks[::2], looks[1::2]] if len(looks) > 1 else [looks]
        canvas.legend(figure, columns, caption=_caption(table, loaded))
        return canvas.save(figure, table, stem)


def _caption(table: pd.DataFrame, runs: Sequence[Run]) -> str:
    end = evaluated(runs, table["metric"].unique())
    return f"a dot: a run; training: {drawn_outputs(runs)};\nat the end: {end}"


def points(groups: Sequence[tuple[str, Sequence[Run]]], metric: str | None) -> pd.DataFrame:
    """Return one row per run: line, run, silent_share (mean over iterations), final, metric.

    Raises:
        UserError: a run has not measured the metric.
    """
    import pandas as pd

    rows = []
    for line, of_line in groups:
        for run in of_line:
            name = metric or next((name for name in run.metrics if name.startswith("val/")), None)
            if name is None or name not in run.table:
                raise UserError(f"{run.path}: has not measured {name or 'anything on validation'}; "
                                "name a metric as 'metric'")  # fmt: skip
            rows.append({"line": line, "run": run.path.name, "metric": name,
                         "silent_share": run.table[SILENT].mean(),
                         "final": run.table[name].dropna().iloc[-1]})  # fmt: skip
    return pd.DataFrame(rows)
