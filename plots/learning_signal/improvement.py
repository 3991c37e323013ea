"""Improvement between evaluations against p (1 - p), the variance of right and wrong outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from common.errors import Problem
from common.run.folder import RunFolder
from plots import lines
from plots.captions import evaluated
from plots.finetuning.correlation import pearson, spearman
from plots.needs import planned
from plots.needs.planned import PlannedRun
from plots.needs.wanted import Wanted, drawn, none_leaves
from plots.options import FigureOptions
from plots.runs import Run, load_runs, read_steps
from plots.variants import named_groups, subject

if TYPE_CHECKING:
    import pandas as pd

_PASS_AT_2 = re.compile(r"(?P<metric>(?P<split>val|test)/.+)/pass_at_k/2(?P<level>_at_.+)?")
_NUM_SAMPLES = "train_evaluation.num_samples_per_input"
_FIX = (
    "fix: give runs that finetune by rewards and evaluate right and wrong outputs with "
    f"'{_NUM_SAMPLES}' of 2 or more"
)


class Options(FigureOptions):
    """Options of the figure of improvements."""

    example: ClassVar[str] = "--split test"

    metric: str = "answer/accuracy"
    """Metric of right outputs, without its split."""
    split: str = "val"
    """Split of the evaluated inputs."""

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from none_leaves(runs, _wanted(self))
        own = drawn(runs, _wanted(self))
        yield from planned.none_logs(own, "metric", self.metric, self.split)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one dot for two evaluations in turn, of all inputs or of each group of them.

    The horizontal axis is the mean over inputs of p (1 - p), p being the chance of a right output
    at the first evaluation. It is pass@2 - pass@1 = E[1 - (1 - p)^2] - E[p], without bias. The
    expected improvement is bounded from below by a multiple of it (arXiv 2504.03380). The vertical
    axis is the change of the share of right outputs per iteration; the line is that of least
    squares through 0.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run measured pass@2, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    wanted = f"{options.split}/{options.metric}"
    loaded = load_runs(runs, _wanted(options), options.only)
    groups = named_groups(loaded)
    table = points(groups, wanted)
    x, y = table["variance"].to_numpy(), table["improvement"].to_numpy()
    looks: list[dict[str, Any]] = []
    with canvas.styled():
        figure, (axes,) = canvas.wrapped(1, 1, (5.0, 3.6), lines=(len(groups) + 2) // 2 + 2)
        for look, (name, _) in zip(lines.looks(), groups, strict=False):
            dots = {**look, "linestyle": "none", "markersize": 4}
            looks.append({"label": lines.plain(name), **dots})
            own = table[table["line"] == name]
            axes.plot(own["variance"], own["improvement"], **looks[-1], alpha=0.7)
        ends = np.array([0.0, x.max()])
        fit: dict[str, Any] = {"color": "black", "linewidth": 1, "linestyle": "--"}
        axes.plot(ends, slope(x, y) * ends, **fit)
        looks.append({"label": "least squares through 0", **fit})
        axes.axhline(0, color="dimgray", linewidth=0.6)
        axes.set_xlabel("mean of p (1 - p) over inputs")
        axes.set_ylabel(f"change of {wanted}\nper iteration", parse_math=False)
        axes.set_title(f"Pearson {pearson(x, y)}\nSpearman {spearman(x, y)}", fontsize="small")
        figure.suptitle(subject(loaded), parse_math=False)
        caption = f"a dot: two evaluations of a run in turn; {evaluated(loaded, [wanted])}"
        canvas.legend(figure, [looks[::2], looks[1::2]], caption=caption)
        return canvas.save(figure, table, stem)


def _wanted(options: Options) -> Wanted:
    metric = f"{options.split}/{options.metric}"

    def read(folder: RunFolder) -> pd.DataFrame | None:
        table = read_steps(folder)
        has_them = table is not None and any(True for _ in _levels(table, metric))
        return table if has_them else None

    return Wanted(
        read,
        f"'{metric}/pass_at_k/2' in metrics.jsonl",
        _FIX,
        lambda run: run.experiment == "grue_finetune" and run.key(_NUM_SAMPLES) > 1,
    )


def slope(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float:
    """Return the slope of the least-squares line through 0; 0 where x is 0 throughout."""
    return float(x @ y / (x @ x)) if x.any() else 0.0


def points(groups: Sequence[tuple[str, Sequence[Run]]], metric: str) -> pd.DataFrame:
    """Return one row per pair of evaluations.

    Columns: line, run, level (group of inputs, empty for all), step, variance, improvement.
    """
    import pandas as pd

    rows = []
    for line, of_line in groups:
        for run in of_line:
            for level in levels(run.table, metric):
                of_level = run.table[[metric + level, f"{metric}/pass_at_k/2{level}"]].dropna()
                right, pass_at_2 = (of_level[name].to_numpy() for name in of_level)
                steps = of_level.index.to_numpy()
                for place in range(len(of_level) - 1):
                    change = right[place + 1] - right[place]
                    rows.append({
                        "line": line, "run": run.path.name, "level": level.removeprefix("_at_"),
                        "step": int(steps[place]),
                        "variance": pass_at_2[place] - right[place],
                        "improvement": change / (steps[place + 1] - steps[place]),
                    })  # fmt: skip
    return pd.DataFrame(rows)


def levels(table: pd.DataFrame, metric: str) -> list[str]:
    """Return the ends of the names of a metric by groups of inputs; only of all without groups."""
    found = list(_levels(table, metric))
    return [level for level in found if level] or found


def _levels(table: pd.DataFrame, metric: str) -> Iterator[str]:
    for name in table.columns:
        match = _PASS_AT_2.fullmatch(str(name))
        if match and match["metric"] == metric and metric + (match["level"] or "") in table:
            yield match["level"] or ""
