"""Reward after RFT over the steps of SFT before it, by the fraction of inputs with labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from common.errors import Problem, UserError
from common.key_paths import value_at
from common.run.folder import RunFolder
from plots.finetuning import sweeps
from plots.finetuning.lineage import Config, stages_before
from plots.finetuning.sweeps import Place
from plots.needs import planned
from plots.needs.planned import PlannedRun
from plots.options import FigureOptions
from plots.runs import Run, load_runs, read_steps
from plots.variants import variants

FRACTION = "datapool.frac_train_samples"


_FIX = "fix: in the plan, let it begin with '@<id>.model' of one"


class Options(FigureOptions):
    """Options of the figure of RFT after SFT."""

    example: ClassVar[str] = '--only "^RFT"'
    wanted = sweeps.BY_REWARDS
    metric_keys = ("metric",)

    metric: str | None = None
    """Metric of the last evaluation; None for the first validation metric."""

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from super().lacking(runs)
        if not any(run.is_users or _may_begin_after_sft(run) for run in runs):
            yield Problem(
                f"no run of the plan finetunes the model of a supervised run by rewards; {_FIX}"
            )


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw a line of rewards after RFT for each labelled fraction, and return the written paths.

    Runs without SFT before them are the first point of every line. A point is the mean over seeds
    of the last evaluation, and its bar one standard deviation to each side.

    Args:
        runs: plan folders and run folders; of a plan, the runs that finetune by rewards.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no run finetunes by rewards after SFT, or the files cannot be written.
    """
    loaded = load_runs(runs, sweeps.WANTED, options.only)
    places = list(_places(sweeps.by_rewards(loaded)))
    if not places:
        raise UserError(
            "nothing to draw: no run that finetunes by rewards began with the model of a "
            f"supervised run\n  {_FIX}"
        )
    drawn = list({place.run.path: place.run for place in places}.values())
    metric = sweeps.metric_of(drawn, options.metric)
    table = sweeps.statistics(places, metric)
    baseline = sweeps.supervised(loaded, places, metric)
    return sweeps.draw_panels(table, baseline, stem, runs=drawn, metric=metric)


def _places(runs: Sequence[Run]) -> Iterator[Place]:
    """Yield the places of runs that differ in seeds and in the model that they began with alone."""
    groups = [
        (variant.title, [run for of_method in variant.methods.values() for run in of_method])
        for variant in variants(runs, aside=frozenset({"model_name"}))
    ]
    found = [(title, added) for title, group in groups if any((added := _added(group)).values())]
    for title, added in found:
        yield from _of_group(title if len(found) > 1 else "", added)


def _added(runs: Sequence[Run]) -> dict[Run, list[tuple[Path, Config]]]:
    """Return the stages before each run, without those, such as pretraining, that all share."""
    of_runs = {run: list(stages_before(run.path, run.config)) for run in runs}
    shared = set.intersection(*({path for path, _ in stages} for stages in of_runs.values()))
    return {
        run: [(path, config) for path, config in stages if path not in shared]
        for run, stages in of_runs.items()
    }


def _of_group(title: str, added: Mapping[Run, Sequence[tuple[Path, Config]]]) -> Iterator[Place]:
    """Yield the places of the runs after SFT, and of those without it on every line."""
    fractions = {run: _fraction(stages) for run, stages in added.items() if stages}
    for fraction in sorted(set(fractions.values())):
        words = [f"SFT on {100 * fraction:g} % of the inputs", title]
        for run, stages in added.items():
            if fractions.get(run, fraction) == fraction:
                steps = sum(_steps(path) for path, _ in stages)
                yield Place("steps of SFT before RFT", ", ".join(filter(None, words)), steps, run)


def _fraction(stages: Sequence[tuple[Path, Config]]) -> float:
    """Return the labelled fraction of the nearest stage; all where its data says none."""
    return float(value_at(stages[0][1], FRACTION) or 1.0)


def _steps(path: Path) -> int:
    table = read_steps(RunFolder(path))
    return 0 if table is None else int(table.index.max())


def _may_begin_after_sft(run: PlannedRun) -> bool:
    """Return whether a run finetunes by rewards a model that SFT may have made."""
    return planned.finetunes_by_rewards(run) and planned.made_by(run, planned.is_supervised)
