"""Figures from run folders: catalogue, options check and drawing.

Importing this package, and checking options with it, loads neither matplotlib nor pandas.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from common.config.resolve import resolve
from common.errors import Problem, UserError
from common.plan.run import Run as PlanRun
from common.plan.templates import file_name
from common.registry import Registry, import_part
from common.run.folder import PlanFolder
from plots.needs.planned import PlannedRun as PlannedRun
from plots.options import FigureOptions as FigureOptions

FIGURES: Registry[str] = Registry("figure")
FIGURES.register("controlled_curves")("plots.controlled.curves:draw")
FIGURES.register("expected_gradients")("plots.sampled.expected_gradients:draw")
FIGURES.register("gradient_bound")("plots.controlled.gradient_bound:draw")
FIGURES.register("gradient_noise")("plots.kl_penalties.gradient_noise:draw")
FIGURES.register("improvement")("plots.learning_signal.improvement:draw")
FIGURES.register("learning_curves")("plots.learning_curves:draw")
FIGURES.register("learning_time")("plots.controlled.learning_time:draw")
FIGURES.register("loglin_features")("plots.log_linear.features:draw")
FIGURES.register("loglin_probabilities")("plots.log_linear.probabilities:draw")
FIGURES.register("loglin_sampled")("plots.log_linear.sampled:draw")
FIGURES.register("loglin_stall")("plots.log_linear.stall:draw")
FIGURES.register("loglin_updates")("plots.log_linear.updates:draw")
FIGURES.register("pareto_front")("plots.kl_penalties.pareto_front:draw")
FIGURES.register("reward_change")("plots.finetuning.reward_change:draw")
FIGURES.register("reward_mean_std")("plots.sampled.reward_mean_std:draw")
FIGURES.register("reward_std_vs_gradient")("plots.controlled.reward_std_vs_gradient:draw")
FIGURES.register("reward_vs_keys")("plots.finetuning.reward_vs_keys:draw")
FIGURES.register("reward_vs_kl")("plots.finetuning.reward_vs_kl:draw")
FIGURES.register("reward_vs_sft")("plots.finetuning.reward_vs_sft:draw")
FIGURES.register("silent_groups")("plots.learning_signal.silent_groups:draw")
FIGURES.register("silent_share")("plots.learning_signal.silent_share:draw")
FIGURES.register("small_std_share")("plots.finetuning.small_std_share:draw")
FIGURES.register("teacher_curves")("plots.teachers.curves:draw")
FIGURES.register("teacher_ranking")("plots.teachers.ranking:draw")
FIGURES.register("teachers")("plots.teachers.scatter:draw")


@dataclass(frozen=True)
class Figure:
    """A figure of the catalogue."""

    draw: Callable[[list[Path], Path, Any], list[Path]]
    """Function ``draw(runs, stem, options)``, which writes ``stem`` with several suffixes and
    returns the paths."""
    options: type[FigureOptions]
    """Model of its options: the type that ``draw`` gives its parameter ``options``."""
    summary: str
    """Summary in one line: the first line of its module's docstring."""


def find(name: str) -> Figure:
    """Return the figure called ``name`` (or ``"custom:package.module:function"``).

    Raises:
        UserError: there is no such figure, it cannot be imported, or its ``options`` have no model.
    """
    part = FIGURES.get(name)
    draw = import_part(part) if isinstance(part, str) else part
    try:
        model = get_type_hints(draw).get("options")
    except (NameError, TypeError):
        model = None
    if not (isinstance(model, type) and issubclass(model, FigureOptions)):
        raise UserError(
            "the parameter 'options' of a figure's function needs a subclass of "
            "plots.FigureOptions as its type"
        )
    summary = (sys.modules[draw.__module__].__doc__ or "").strip().partition("\n")[0]
    return Figure(draw, model, summary)


def check_options(name: str, options: dict[str, Any]) -> list[str]:
    """Return the problems of a figure's name and options; empty if it can be drawn."""
    try:
        figure = find(name)
    except UserError as error:
        return [str(error)]
    return [str(problem) for problem in resolve(figure.options, options)[1]]


def lacking(name: str, options: dict[str, Any], runs: Sequence[PlanRun]) -> list[str]:
    """Return what a figure with valid options needs and none of a plan's runs will have.

    As far as the runs' keys tell, that is what `draw` would refuse once they are made. ``runs``
    have their folders.
    """
    chosen = find(name).options(**options)
    own = [PlannedRun(run) for run in runs if re.search(chosen.only, run.folder.name)]
    if not own:
        names = ", ".join(dict.fromkeys(run.name for run in runs))
        return [str(Problem(f"found in no run's name; there are {names}", "only", chosen.only))]
    return [str(problem) for problem in chosen.lacking(own)]


def draw(name: str, runs: list[Path], output: Path | None = None, **options: Any) -> list[Path]:
    """Draw a figure and return the written paths: PNG, PDF, and the plotted numbers as CSV.

    Args:
        name: one of `FIGURES`.
        runs: plan folders and run folders.
        output: folder to write to; by default ``figures`` in the first of ``runs`` if that is a
            plan's or a diagnosis's folder, otherwise ``figures`` in the current folder.
        options: the figure's own; those that differ from their defaults show in the file names.

    Raises:
        UserError: the figure or an option is unknown, a folder is missing, nothing can be drawn
            from the runs, or the output cannot be written.
    """
    problems = check_options(name, options)
    if problems:
        raise UserError("\n".join(f"'{name}': {problem}" for problem in problems))
    figure = find(name)
    chosen = figure.options(**options)
    stem = (output or _figures_folder(runs)) / file_name("-".join([name, *chosen.changes()]))
    return figure.draw(runs, stem, chosen)


def write_report(folder: Path) -> Path:
    """Write the report of a plan's folder, a page, into it; return its path.

    Raises:
        UserError: the folder holds no plan.
    """
    from plots.report import page

    return page.write_report(folder)


def _figures_folder(runs: list[Path]) -> Path:
    from plots.runs import is_diagnosis

    keeping = [path for path in runs[:1] if PlanFolder(path).index.exists() or is_diagnosis(path)]
    return next((PlanFolder(path).figures for path in keeping), Path("figures"))
