"""Increases of the trained and of the true reward against variance and accuracy of rewards."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from common.errors import Problem, UserError
from plots import lines
from plots.captions import from_to
from plots.finetuning.correlation import pearson, spearman
from plots.needs.planned import PlannedRun
from plots.options import FigureOptions
from plots.teachers.points import (
    MEASURED,
    TRAINED,
    TRUE,
    Study,
    counts_in_words,
    means,
    points,
    studies,
    without_policies,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

Looks = dict[str, dict[str, Any]]
"""Properties of dots by reward."""

_PANEL = (3.6, 2.9)
_GAINS = {TRAINED: "increase of the reward\nthat is trained", TRUE: "increase of the true reward"}
_WORDS = {
    "reward_variance": "reward variance under the policy",
    "on_policy/accuracy": "accuracy on policy",
    "off_policy/accuracy": "accuracy off policy",
    "on_policy/accuracy_weighted": "accuracy on policy, weighted",
    "on_policy/harm_aware_accuracy_weighted": "harm-aware accuracy, weighted",
    "on_policy/harm_aware_accuracy": "harm-aware accuracy on policy",
    "off_policy/harm_aware_accuracy": "harm-aware accuracy off policy",
}


class Options(FigureOptions):
    """Options of the figure of teachers."""

    example: ClassVar[str] = "--measures reward_variance on_policy/harm_aware_accuracy"
    wanted = MEASURED

    measures: list[str] = ["reward_variance", "on_policy/accuracy"]  # noqa: RUF012  pydantic copies
    """Measures before training, one column of panels each."""
    true_metric: str | None = None
    """Metric of the true reward, with its split; None for the first validation metric but the
    reward."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of no panel, or a repeated one."""
        if not self.measures or len(set(self.measures)) < len(self.measures):
            yield Problem("needs at least one measure, and each once", "measures", self.measures)

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from super().lacking(runs)
        yield from without_policies(runs, self.true_metric)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw two rows per study, one for each reward, and one column per measure.

    A dot is a reward model, the mean over seeds with one standard deviation. The correlations are
    those of the dots, with 95 % intervals: Fisher's for Pearson, bootstrap for Spearman.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no reward model was measured and has trained a policy, a measure is unknown, or
            the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    found = studies(runs, options.only, options.true_metric)
    table = means(points(found))
    check_measures(table, options.measures)
    rows = [(name, gain) for name in table["study"].unique() for gain in _GAINS]
    columns, rewards = len(options.measures), table["reward"].unique().tolist()
    looks: Looks = dict(zip(rewards, lines.looks(), strict=False))
    with canvas.styled():
        figure, grid = canvas.wrapped(
            len(rows) * columns,
            columns,
            _PANEL,
            lines=3 + math.ceil(len(looks) / 3),
            sharex="col",
            sharey="row",
        )
        panels = itertools.product(rows, options.measures)
        for place, (axes, ((name, gain), measure)) in enumerate(zip(grid, panels, strict=True)):
            _panel(axes, table[table["study"] == name], measure, gain, looks)
            if place % columns == 0:
                study = f"{name}: " if table["study"].nunique() > 1 else ""
                axes.set_ylabel(study + _GAINS[gain], parse_math=False)
            if place >= len(grid) - columns:
                axes.set_xlabel(in_words(measure), parse_math=False)
        entries = [{"label": name, **look, "linestyle": "none"} for name, look in looks.items()]
        by_column = [entries[start::3] for start in range(min(3, len(entries)))]
        canvas.legend(figure, by_column, caption=_caption(table, found))
        return canvas.save(figure, table, stem)


def in_words(measure: str) -> str:
    """Return a measure's name in a figure."""
    return _WORDS.get(measure, measure)


def check_measures(table: pd.DataFrame, measures: Sequence[str]) -> None:
    """Raise `UserError` if a measure is none of the table's numbers."""
    known = [name for name in table.columns if name not in ("study", "reward", "seed", "seeds")]
    missing = [name for name in measures if name not in known]
    if missing:
        raise UserError(f"'measures' = '{missing[0]}': not measured; known: {', '.join(known)}")


def _panel(axes: Axes, table: pd.DataFrame, measure: str, gain: str, looks: Looks) -> None:
    known = table[table[measure].notna()]
    x, y = known[measure].to_numpy(), known[gain].to_numpy()
    for _, row in known.iterrows():
        look = looks[row["reward"]] | {"linestyle": "none", "markersize": 5}
        axes.errorbar(row[measure], row[gain], row[f"{gain}_std"], capsize=2, **look)
    axes.axhline(0, color="dimgray", linewidth=0.6)
    axes.set_title(f"Pearson {pearson(x, y)}\nSpearman {spearman(x, y)}", fontsize="small")


def _caption(table: pd.DataFrame, found: Sequence[Study]) -> str:
    models = from_to(table.groupby("study").size())
    return (
        f"{models} reward models, {counts_in_words(found)};\nrewards in units of their std under "
        "the initial policy; [95 % intervals]"
    )
