"""Rank correlations of measures of reward models with what the models teach, by study."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from common.errors import Problem, UserError
from plots import lines
from plots.captions import from_to
from plots.finetuning.correlation import LEAST, spearman
from plots.needs.planned import PlannedRun
from plots.options import FigureOptions
from plots.teachers.points import (
    MEASURED,
    TRAINED,
    TRUE,
    counts_in_words,
    points,
    studies,
    without_policies,
)
from plots.teachers.scatter import check_measures, in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

logger = logging.getLogger(__name__)

_MEASURES = [
    "on_policy/accuracy",
    "on_policy/accuracy_weighted",
    "on_policy/harm_aware_accuracy",
    "on_policy/harm_aware_accuracy_weighted",
    "reward_variance",
]


class Options(FigureOptions):
    """Options of the figure of rank correlations."""

    example: ClassVar[str] = "--gain trained"
    wanted = MEASURED

    gain: Literal["true", "trained"] = "true"
    """Reward whose increase is ranked: the true one, or the one that is trained."""
    measures: list[str] = _MEASURES
    """Measures before training."""
    true_metric: str | None = None
    """Metric of the true reward, with its split; None for the first validation metric but the
    reward."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of no measure."""
        if not self.measures:
            yield Problem("needs at least one measure", "measures", self.measures)

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from super().lacking(runs)
        yield from without_policies(runs, self.true_metric)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one row per study: Spearman's correlation of each measure with the increase.

    A marker is the mean over seeds, and its bar one standard deviation.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no reward model was measured and has trained a policy, no study has three that
            were trained with one seed, a measure is unknown, or the files cannot be written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    of_studies = studies(runs, options.only, options.true_metric)
    found = points(of_studies)
    check_measures(found, options.measures)
    table = correlations(found, options.measures, TRUE if options.gain == "true" else TRAINED)
    names, count = table["study"].unique().tolist(), len(options.measures)
    with canvas.styled():
        height = 1.2 + 0.16 * len(names) * (count + 1)
        figure, (axes,) = canvas.wrapped(1, 1, (7.0, height), lines=(count + 1) // 2 + 2)
        for place, (look, measure) in enumerate(zip(lines.looks(), options.measures, strict=False)):
            of_measure = table[table["measure"] == measure]
            heights = [
                names.index(name) + (place + 1) / (count + 1) - 0.5 for name in of_measure["study"]
            ]
            axes.errorbar(of_measure["mean"], heights, xerr=of_measure["std"], markersize=5,
                          capsize=2, **look | {"linestyle": "none"})  # fmt: skip
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.invert_yaxis()
        axes.set_xlim(-1.05, 1.05)
        axes.axvline(0, color="dimgray", linewidth=0.8)
        for edge in range(len(names) - 1):
            axes.axhline(edge + 0.5, color="lightgray", linewidth=0.6)
        axes.set_xlabel(f"rank correlation with the increase of the {options.gain} reward")
        entries = [
            {"label": in_words(measure), **look, "linestyle": "none"}
            for look, measure in zip(lines.looks(), options.measures, strict=False)
        ]
        models = from_to(found.groupby(["study", "seed"]).size())
        caption = f"{models} reward models, {counts_in_words(of_studies)}"
        canvas.legend(figure, [entries[::2], entries[1::2]], caption=caption)
        return canvas.save(figure, table, stem)


def correlations(found: pd.DataFrame, measures: list[str], gain: str) -> pd.DataFrame:
    """Return mean and std over seeds of Spearman's correlation, by study and measure.

    Raises:
        UserError: no study has reward models enough.
    """
    import pandas as pd

    rows = []
    for study, of_study in found.groupby("study", sort=False):
        seeds = [models for _, models in of_study.groupby("seed") if len(models) >= LEAST]
        if not seeds:
            logger.warning("%s: left out, ranks need %d reward models of a seed", study, LEAST)
            continue
        for measure in measures:
            values = pd.Series(
                [spearman(of[measure].to_numpy(), of[gain].to_numpy()).value for of in seeds],
                dtype=float,
            )
            rows.append({"study": study, "measure": measure, "mean": values.mean(),
                         "std": values.std(ddof=1), "seeds": len(values)})  # fmt: skip
    if not rows:
        raise UserError(
            f"nothing to draw: no study has {LEAST} reward models that have trained policies with "
            "one seed, and the ranks of fewer say nothing; compare two by the figure 'teachers'"
        )
    return pd.DataFrame(rows).fillna({"std": 0.0})
