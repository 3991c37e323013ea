"""Reward after RFT over learning rate, temperature, entropy coefficient, or any other key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from common.errors import Problem, UserError
from common.key_paths import value_at
from plots.finetuning import sweeps
from plots.finetuning.sweeps import Place
from plots.needs import planned
from plots.needs.planned import PlannedRun
from plots.options import FigureOptions
from plots.runs import Run, load_runs
from plots.variants import variants

LEARNING_RATE = "alg.args.learning_rate"
TEMPERATURE = "alg.policy.args.generation_kwargs.temperature"
ENTROPY = "alg.args.ent_coef"
_IN_WORDS = {
    LEARNING_RATE: "learning rate",
    TEMPERATURE: "temperature",
    ENTROPY: "entropy coefficient",
}
_ONE_LINE = "RFT"


class Options(FigureOptions):
    """Options of the figure of rewards over keys."""

    example: ClassVar[str] = "--keys alg.args.learning_rate alg.kl_div.coeff"
    wanted = sweeps.BY_REWARDS
    metric_keys = ("metric",)

    keys: list[str] = [LEARNING_RATE, TEMPERATURE, ENTROPY]  # noqa: RUF012  pydantic copies defaults
    """Dotted paths of the keys, whose values are numbers, one panel each."""
    metric: str | None = None
    """Metric of the last evaluation; None for the first validation metric."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of no panel, or of a repeated one."""
        if not self.keys or len(set(self.keys)) < len(self.keys):
            yield Problem("needs at least one key, and each once", "keys", self.keys)

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield the problem of a plan whose runs leave nothing to draw."""
        yield from super().lacking(runs)
        tuned = [run for run in runs if planned.finetunes_by_rewards(run)]
        values = [{str(run.key(key)) for run in tuned} for key in self.keys]
        if tuned and not any(run.is_users for run in runs) and all(len(own) == 1 for own in values):
            yield Problem("no runs of the plan differ in one; choose others", "keys", self.keys)


def draw(runs: list[Path], stem: Path, options: Options) -> list[Path]:
    """Draw one panel per key, and return the written paths.

    A line joins runs that differ in the key and in seeds alone, so that a run with the usual values
    can be part of every panel. A point is the mean over seeds of the last evaluation, and its bar
    one standard deviation to each side.

    Args:
        runs: plan folders and run folders; of a plan, the runs that finetune by rewards.
        stem: path of the files without their suffixes.
        options: options of the figure.

    Raises:
        UserError: no runs differ in any of the keys alone, or the files cannot be written.
    """
    loaded = load_runs(runs, sweeps.WANTED, options.only)
    places = [place for key in options.keys for place in _places(sweeps.by_rewards(loaded), key)]
    if not places:
        raise UserError(
            f"nothing to draw: no runs differ in one of {', '.join(options.keys)} and in seeds "
            "alone\n  fix: choose others with --keys"
        )
    drawn = [place.run for place in places]
    metric = sweeps.metric_of(drawn, options.metric)
    table = sweeps.statistics(places, metric)
    baseline = sweeps.supervised(loaded, places, metric)
    return sweeps.draw_panels(table, baseline, stem, runs=drawn, metric=metric)


def _places(runs: Sequence[Run], key: str) -> Iterator[Place]:
    """Yield the places of the runs that differ in a key and in seeds alone."""
    has_key = [run for run in runs if isinstance(value_at(run.config, key), int | float)]
    aside = frozenset({key.rpartition(".")[2]})
    groups = [
        [run for of_method in variant.methods.values() for run in of_method]
        for variant in variants(has_key, aside)
    ]
    kept = [
        run
        for group in groups
        if len({value_at(run.config, key) for run in group}) > 1
        for run in group
    ]
    for variant in variants(kept, aside):
        for of_method in variant.methods.values():
            for run in of_method:
                value = float(value_at(run.config, key))
                yield Place(_IN_WORDS.get(key, key), variant.title or _ONE_LINE, value, run)
