"""Trained and true reward against KL divergence from the start, one line per reward model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from common.errors import Problem
from plots import lines
from plots.needs.planned import PlannedRun
from plots.options import FigureOptions
from plots.teachers.points import MEASURED, Study, counts_in_words, studies, without_policies

if TYPE_CHECKING:
    import pandas as pd

_PANEL = (4.2, 3.2)
_REWARDS = {"trained_reward": "reward that is trained", "true_reward": "true reward"}


class Options(FigureOptions):
    """Options of the figure of curves."""

    example: ClassVar[str] = "--true_metric val/lexical/matches"
    wanted = MEASURED

    true_metric: str | None = None
    """Metric of the true reward, with its split; None for the first validation metric but the
    reward."""

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from super().lacking(runs)
        yield from without_policies(runs, self.true_metric)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one row per study and one column for each reward, from the start of training.

    A marker is the mean over seeds at one step, with one standard deviation of the reward.

    Args:
        runs: plan folders and run folders.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no reward model was measured and has trained a policy, or the files cannot be
            written.
    """
    from plots import canvas  # matplotlib, which checking options does not need

    found = studies(runs, options.only, options.true_metric)
    table = curves(found)
    names, rewards = (table[key].unique().tolist() for key in ("study", "reward"))
    looks: dict[str, dict[str, Any]] = dict(zip(rewards, lines.looks(), strict=False))
    with canvas.styled():
        figure, grid = canvas.wrapped(
            2 * len(names), 2, _PANEL, lines=(len(rewards) + 2) // 3 + 2, sharex=True
        )
        for place, axes in enumerate(grid):
            name, column = names[place // 2], list(_REWARDS)[place % 2]
            for reward, line in table[table["study"] == name].groupby("reward", sort=False):
                axes.errorbar(line["kl"], line[column], line[f"{column}_std"], markersize=4,
                              linewidth=1, elinewidth=0.6, **looks[str(reward)])  # fmt: skip
            axes.set_ylabel(f"increase of the {_REWARDS[column]}")
            axes.set_title(name if len(names) > 1 else "", parse_math=False)
            axes.axhline(0, color="dimgray", linewidth=0.6)
        for axes in grid[-2:]:
            axes.set_xlabel("KL divergence from the start (nats)")
        of_lines = [{"label": reward, **look} for reward, look in looks.items()]
        by_column = [of_lines[start::3] for start in range(min(3, len(of_lines)))]
        canvas.legend(figure, by_column, caption=counts_in_words(found))
        return canvas.save(figure, table, stem)


def curves(found: Sequence[Study]) -> pd.DataFrame:
    """Return a row per study, reward and step: means over seeds of both increases and of the KL.

    Stds over seeds have the suffix ``_std``.
    """
    import pandas as pd

    parts = []
    for study in found:
        for one in study.taught:
            risen = one.curve[list(_REWARDS)] - one.curve[list(_REWARDS)].iloc[0]
            part = risen.assign(kl=one.curve["kl"], step=one.curve.index).reset_index(drop=True)
            parts.append(part.assign(study=study.name, reward=one.reward))
    by_step = pd.concat(parts).groupby(["study", "reward", "step"], sort=False)
    stds = by_step[list(_REWARDS)].std(ddof=1).fillna(0.0).add_suffix("_std")
    found_means: pd.DataFrame = by_step.mean().join(stds)
    return found_means.reset_index()
