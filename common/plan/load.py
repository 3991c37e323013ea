"""Loading of a plan: all runs are expanded, linked and checked before any starts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config.finite_values import not_finite
from common.config.resolve import resolve_valid_keys
from common.custom.hooks import answers, asking
from common.errors import ConfigError, Problem, UserError
from common.experiment import Experiment
from common.plan.entry import Entry
from common.plan.error_locations import at_sources
from common.plan.forgotten_experiment import forgotten_experiment, with_claimed_experiment
from common.plan.identity import hash_files, identify
from common.plan.import_check import unimportable
from common.plan.overrides import Overrides, why_unused
from common.plan.plan_base_check import PlanBase
from common.plan.reading import OUTSIDE_RUNS, Reading, read_plan
from common.plan.resources import problems_of_gpus
from common.plan.run import Plan, Run
from common.plan.run_configs import Drafting, too_many
from common.plan.run_folders import place
from common.plan.stages import Stage, Stages
from common.plan.sweep import Draft, repeated, template_values
from common.plan.templates import fill_keys
from common.registry import Registry
from common.run.folder import PlanFolder

log = logging.getLogger(__name__)

FigureCheck = Callable[[str, dict[str, Any]], list[str]]
"""Function that returns the problems of a figure's name and options."""
FigureNeeds = Callable[[str, dict[str, Any], Sequence[Run]], list[str]]
"""Function that returns what a figure needs and none of the runs, yet to be made, will have."""


def load_plan(
    path: Path,
    experiments: Registry[Experiment],
    *,
    overrides: Mapping[str, Any] | None = None,
    check_figure: FigureCheck = lambda name, options: [],
    figure_lacks: FigureNeeds = lambda name, options, runs: [],
) -> Plan:
    """Return the plan in ``path``, with every run expanded, linked and checked.

    Args:
        path: the plan file.
        experiments: registered experiments that a plan may name.
        overrides: values by (dotted) key that replace those of ``base_config`` and ``options``, or
            keys of the plan itself.
        check_figure: returns the problems of an entry of ``figures``.
        figure_lacks: returns what an entry of ``figures`` needs and no run will have.

    Raises:
        UserError: the file cannot be read.
        ConfigError: the plan has problems; the message has all of them.
    """
    reading = read_plan(path, overrides or {}, experiments)
    expansion = _Expansion(experiments, reading)
    for warning in dict.fromkeys(expansion.warnings):
        log.warning("%s, %s", path.name, warning)
    figures = reading.document.figure_requests()
    problems = expansion.problems + _figure_problems(figures, check_figure)

    stages = Stages(expansion.stages)
    problems += stages.link()
    hashes, missing = hash_files(expansion.runs + expansion.broken)
    known = {(problem.where, problem.key) for problem in problems}
    problems += [problem for problem in missing if (problem.where, problem.key) not in known]
    problems += identify(stages.in_order(), hashes)
    problems += problems_of_gpus(reading.document, expansion.runs)
    if problems:
        raise ConfigError(path.name, expansion.placed(problems))

    place(expansion.runs, path.stem)
    problems = _figure_problems(
        figures, lambda name, options: figure_lacks(name, options, expansion.runs)
    )
    if problems:
        raise ConfigError(path.name, expansion.placed(problems))
    return Plan(
        path, reading.document, reading.effective, expansion.runs, expansion.folder(path.stem)
    )


@dataclass(frozen=True)
class Outline:
    """Outline of a plan file's runs, made without reading the files that they use."""

    folder: PlanFolder
    """Folder of the plan."""
    runs: list[dict[str, Any]]
    """All that can change each run's results, with its stage and repetition."""


def outline(
    path: Path, experiments: Registry[Experiment], overrides: Mapping[str, Any] | None = None
) -> Outline:
    """Return the outline of the plan in ``path`` with ``overrides``.

    Raises:
        UserError: the file cannot be read.
        ConfigError: no run of it is valid.
    """
    expansion = _Expansion(experiments, read_plan(path, overrides or {}, experiments))
    if not expansion.runs:
        raise ConfigError(path.name, expansion.placed(expansion.problems))
    runs = []
    for run in expansion.runs:
        with asking(run.experiment, "identity()"):
            identity = run.config.identity()
        runs.append({"stage": run.stage, "repetition": run.repetition,
                     "experiment": run.experiment, "config": identity})  # fmt: skip
    return Outline(expansion.folder(path.stem), runs)


def _figure_problems(
    figures: Iterable[tuple[str, dict[str, Any]]], check: FigureCheck
) -> list[Problem]:
    return [
        Problem(message, "figures", name)
        for name, options in figures
        for message in check(name, options)
    ]


class _Expansion:
    """Expansion of all configurations into runs, each with its own keys checked."""

    def __init__(self, experiments: Registry[Experiment], reading: Reading) -> None:
        self.experiments = experiments
        self.reading = reading
        self.stages: list[Stage] = []
        self.problems = list(reading.problems)
        self.warnings: list[str] = []
        read = [self._as_claimed(entry) for entry in reading.entries]
        specs = [self._experiment(entry) for entry in read]
        self.known_keys = {key for spec in specs if spec for key in spec.config.model_fields}
        self.ids = [entry.configuration.id for entry in reading.entries]
        self.overrides = Overrides.of(reading.overrides, self.ids, self.known_keys)
        self.plan_base = PlanBase(reading.base)
        entries = list(zip(read, specs, strict=True))
        self.drafting = Drafting(reading, self.overrides, entries)
        for entry, spec in entries:
            self._add(entry, spec)
        if all(stage.files is not None for stage in self.stages):  # what others know is unknown
            self.problems += [*self.plan_base.problems(), *self._unused_overrides()]
        self.problems += self._too_much_skipped()

    @property
    def runs(self) -> list[Run]:
        """Runs without problems."""
        return [run for stage in self.stages for run in stage.runs]

    @property
    def broken(self) -> list[Run]:
        """Other runs, with the keys that are valid."""
        return [run for stage in self.stages for run in stage.broken]

    def folder(self, name: str) -> PlanFolder:
        """Return the plan's folder, which is below the first run's ``outputs_dir``."""
        return PlanFolder(Path(self.runs[0].config.outputs_dir) / name)

    def _add(self, entry: Entry, spec: Experiment | None) -> None:
        """Expand one configuration into the runs of one stage."""
        stage = Stage(entry.configuration.id, is_whole=entry.is_whole)
        self.stages.append(stage)
        if spec is None:
            stage.is_whole = False
            return
        repetitions = self.reading.document.repetitions
        count, drafts = self.drafting.drafts(entry, spec)
        excess = too_many(count, repetitions, entry.where)
        if excess is not None:
            stage.is_whole = False
            self.problems.append(excess)
            return
        stage.files = spec.files
        for draft in drafts:
            self.plan_base.note(draft, entry, spec)
            for repetition in range(repetitions):
                self._add_run(stage, entry, spec, draft, repetition)

    def _as_claimed(self, entry: Entry) -> Entry:
        """Return a configuration with the experiment that alone can be meant, if none is given."""
        if self.reading.names_experiment(entry) or entry.experiment not in self.experiments.names():
            return entry
        return with_claimed_experiment(entry, self.experiments)

    def _experiment(self, entry: Entry) -> Experiment | None:
        """Return the experiment of the configuration's runs.

        None, and a problem, if it is unknown.
        """
        if not entry.experiment:
            return None
        try:
            spec = self.experiments.get(entry.experiment)
            if isinstance(spec, Experiment):
                return None if self._forgotten(entry) else spec
            message = f"names a {type(spec).__name__}; it must name an Experiment"
        except UserError as error:
            message = str(error)
        where = entry.experiment_at if entry.configuration.experiment else ""
        self.problems.append(Problem(message, "experiment", entry.experiment, where))
        return None

    def _forgotten(self, entry: Entry) -> bool:
        """Return whether the plan omits its experiment though the keys show it.

        Record the problem.
        """
        if self.reading.names_experiment(entry):
            return False
        problem = forgotten_experiment(entry, self.experiments)
        self.problems += [] if problem is None else [problem]
        return problem is not None

    def _add_run(
        self, stage: Stage, entry: Entry, spec: Experiment, draft: Draft, repetition: int
    ) -> None:
        """Check the keys of one run; add it to the stage's runs, or to the broken ones."""
        with asking(entry.experiment, "fix_legacy_keys"):
            meant, warnings = spec.fix_legacy_keys(draft.values)
            values = repeated(meant, repetition)
        self.warnings += [f"{entry.where}: {warning}" for warning in warnings]
        written, malformed = fill_keys(values, template_values(spec.config, values))
        with asking(entry.experiment, spec.config.__name__):
            config, wrong = resolve_valid_keys(spec.config, written, OUTSIDE_RUNS.get)
        unfilled = {problem.key for problem in malformed}
        problems = malformed + [problem for problem in wrong if problem.key not in unfilled]
        problems += not_finite(written, {problem.key for problem in problems})
        if problems:  # what does not stand in the way of the others is told with them
            problems += unimportable(written, {problem.key for problem in problems})
        elif config is not None and entry.is_whole:
            problems = answers(Problem, entry.experiment, "problems()", config.problems)
        self.problems += [problem.at(entry.where) for problem in problems]
        stage.is_whole &= not problems
        if config is not None:
            own, document = entry.configuration, self.reading.document
            run = Run(
                experiment=entry.experiment,
                spec=spec,
                stage=stage.id,
                configuration=entry.position,
                repetition=repetition,
                written=written,
                point=draft.point,
                config=config,
                layering=draft.layering,
                num_ranks=own.gpus_per_run or document.gpus_per_run,
                resources=own.resources or document.resources,
                timeout_minutes=own.timeout_minutes or document.timeout_minutes,
            )
            (stage.broken if problems else stage.runs).append(run)

    def _unused_overrides(self) -> list[Problem]:
        """Return the problems of overrides that no configuration knows."""
        return [
            Problem(why_unused(key, self.known_keys, self.ids), key, value,
                    self.reading.source(key))
            for key, value in self.overrides.for_all().items()
            if key.partition(".")[0] not in self.known_keys
        ]  # fmt: skip

    def placed(self, problems: Iterable[Problem]) -> list[Problem]:
        """Return the problems at the places where the plan has the wrong values."""
        placed = [self.reading.placed(problem, self.overrides) for problem in problems]
        return at_sources(placed, self.reading.entries)

    def _too_much_skipped(self) -> list[Problem]:
        """Return the problem of a ``skip`` that leaves no run."""
        document = self.reading.document
        count = len(self.runs) // document.repetitions
        if document.skip < count or not all(stage.is_whole for stage in self.stages):
            return []
        message = f"leaves out all of the plan's runs ({count} without repetitions); lower it"
        return [Problem(message, "skip", document.skip)]
