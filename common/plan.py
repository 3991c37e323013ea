"""From a plan file to its runs: everything is expanded, linked and checked before any starts."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.config import resolve
from common.errors import ConfigError, Problem, UserError
from common.expansion import Draft, axes, drafts
from common.experiment import Experiment, Reference
from common.identity import content_hash, fingerprint
from common.plan_document import (
    Configuration,
    PlanDocument,
    parse_document,
    read_plan_file,
    split_overrides,
)
from common.registry import Registry, suggestion
from common.run_config import RunConfig
from common.run_folder import PlanFolder
from common.stages import Stages
from common.templates import file_name, fill_all

FigureCheck = Callable[[str, dict[str, Any]], list[str]]
"""Gives what is wrong with a figure's name and options."""


@dataclass(eq=False)
class Run:
    """One run of a plan; ``fingerprint`` and ``folder`` are set once its references are."""

    experiment: str
    spec: Experiment
    stage: str | None
    configuration: int
    repetition: int
    written: dict[str, Any]
    """The keys that the plan writes, templates filled."""
    point: dict[str, Any]
    """The part of ``written`` that options and seeds assign."""
    config: RunConfig
    references: list[Reference] = field(default_factory=list)
    fingerprint: str = ""
    folder: Path = Path()

    @property
    def name(self) -> str:
        """The formatted experiment name."""
        return file_name(self.config.experiment_name)

    @property
    def where(self) -> str:
        """The configuration it comes from, as messages name it."""
        return f"configurations[{self.configuration}]"

    @property
    def folder_name(self) -> str:
        """Name, the first eight digits of the fingerprint, and the repetition after the first."""
        repetition = f"-rep{self.repetition}" if self.repetition else ""
        return f"{self.name}-{self.fingerprint[:8]}{repetition}"


@dataclass(frozen=True)
class Plan:
    """A checked plan."""

    source: Path
    document: PlanDocument
    effective: dict[str, Any]
    """The plan file's content with what the command line changed."""
    runs: list[Run]
    folder: PlanFolder


def load_plan(
    path: Path,
    experiments: Registry[Experiment],
    *,
    overrides: Mapping[str, Any] | None = None,
    check_figure: FigureCheck = lambda name, options: [],
) -> Plan:
    """The plan in ``path``, with every run expanded, linked and checked.

    Args:
        path: the plan file.
        experiments: what a plan may name.
        overrides: values by (dotted) key that win over ``base_config`` and ``options``; keys of
            the plan itself are overridden likewise.
        check_figure: gives what is wrong with an entry of ``figures``.

    Raises:
        UserError: the file cannot be read.
        ConfigError: with everything that is wrong.
    """
    draft = _expand(path, experiments, overrides or {})
    problems = [
        Problem(message, "figures", name)
        for name, options in draft.document.figure_requests()
        for message in check_figure(name, options)
    ]
    problems += draft.problems + draft.unused_overrides()
    if problems:
        raise ConfigError(path.name, problems)

    runs = draft.runs
    problems = Stages(draft.ids, runs).link() or _identify(runs) or _equal_fingerprints(runs)
    for run in runs:
        run.folder = Path(run.config.outputs_dir) / path.stem / run.folder_name
    if problems:
        raise ConfigError(path.name, problems)
    return Plan(path, draft.document, draft.effective, runs, draft.folder)


def plan_folder(
    path: Path, experiments: Registry[Experiment], overrides: Mapping[str, Any]
) -> PlanFolder:
    """Where the plan's own files stand, found without looking at any file its runs read.

    Raises:
        UserError: the file cannot be read.
        ConfigError: no run of it is well described.
    """
    draft = _expand(path, experiments, overrides)
    if not draft.runs:
        raise ConfigError(path.name, draft.problems)
    return draft.folder


def _expand(
    path: Path, experiments: Registry[Experiment], overrides: Mapping[str, Any]
) -> _Expansion:
    """The runs of the plan with their own keys checked, but nothing between them."""
    plan_overrides, run_overrides = split_overrides(overrides)
    raw = read_plan_file(path)
    document, configurations = parse_document(path.name, raw, plan_overrides)
    draft = _Expansion(path, document, experiments, run_overrides)
    draft.effective = raw | plan_overrides | _noted(run_overrides)
    for position, configuration in enumerate(configurations):
        draft.add(position, configuration)
    return draft


def _noted(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {"set": dict(overrides)} if overrides else {}


class _Expansion:
    """Collects the runs of all configurations, and everything wrong with them."""

    def __init__(
        self,
        path: Path,
        document: PlanDocument,
        experiments: Registry[Experiment],
        overrides: Mapping[str, Any],
    ) -> None:
        self.path = path
        self.document = document
        self.effective: dict[str, Any] = {}
        self.ids: list[str | None] = []
        self.experiments = experiments
        self.overrides = overrides
        self.runs: list[Run] = []
        self.problems: list[Problem] = []
        self.known_keys: set[str] = set()

    def add(self, position: int, configuration: Configuration) -> None:
        """Expands one configuration into runs."""
        self.ids.append(configuration.id)
        where = f"configurations[{position}]"
        experiment = configuration.experiment or self.document.experiment
        try:
            spec = self.experiments.get(experiment)
        except UserError as error:
            self.problems.append(Problem(str(error), "experiment", experiment, where))
            return
        keys = spec.config.model_fields
        self.known_keys |= set(keys)
        overrides = {k: v for k, v in self.overrides.items() if k.partition(".")[0] in keys}
        seeds = configuration.seeds or self.document.seeds
        product = axes(configuration.options, seeds, spec.config.seed_keys, overrides)
        defaults = {name: key.default for name, key in keys.items()}
        for draft in drafts(configuration.base_config, product, overrides):
            for repetition in range(self.document.repetitions):
                try:
                    values = _repeated(draft.values, repetition)
                    written = fill_all(values, defaults | values)
                except ValueError as error:
                    self._template_problem(draft, defaults, where, error)
                    return
                config, problems = resolve(spec.config, written)
                if config is None:
                    self.problems += [problem.at(where) for problem in problems]
                    continue
                run = Run(
                    experiment,
                    spec,
                    configuration.id,
                    position,
                    repetition,
                    written,
                    draft.point,
                    config,
                )
                self.runs.append(run)

    def _template_problem(
        self, draft: Draft, defaults: dict[str, Any], where: str, error: ValueError
    ) -> None:
        for key, value in draft.values.items():
            try:
                fill_all(value, defaults | draft.values)
            except ValueError:
                self.problems.append(Problem(str(error), key, value, where))

    @property
    def folder(self) -> PlanFolder:
        """Where the plan's own files stand: under the first run's ``outputs_dir``."""
        return PlanFolder(Path(self.runs[0].config.outputs_dir) / self.path.stem)

    def unused_overrides(self) -> list[Problem]:
        """Overrides that no configuration knows."""
        return [
            Problem(f"unknown key{suggestion(key, sorted(self.known_keys))}", key, value, "--set")
            for key, value in self.overrides.items()
            if self.known_keys and key.partition(".")[0] not in self.known_keys
        ]


def _repeated(values: dict[str, Any], repetition: int) -> dict[str, Any]:
    """The values of repetition k: a given ``random_seed`` moves on by k."""
    seed = values.get("random_seed")
    if repetition and isinstance(seed, int) and seed >= 0:
        return {**values, "random_seed": seed + repetition}
    return values


def _identify(runs: list[Run]) -> list[Problem]:
    """Sets the fingerprint of each run, those of earlier stages first; gives missing files."""
    problems = []
    hashed = functools.cache(content_hash)
    for run in Stages.in_order(runs):
        identity = run.config.identity()
        referenced = {reference.key[0] for reference in run.references}
        for key, path in run.config.input_files().items():
            if key in referenced:
                continue
            try:
                identity[key] = {"sha256": hashed(path)}
            except OSError:
                hint = "; a reference has the form '@<id>.<file>'" if str(path)[0] == "@" else ""
                problems.append(Problem(f"no such file or folder{hint}", key, str(path), run.where))
        for reference in run.references:
            source = {"run": reference.run.fingerprint, "file": reference.file}
            _replace(identity, reference.key, source)
        run.fingerprint = fingerprint(
            {"experiment": run.experiment, "config": identity, "repetition": run.repetition}
        )
    return problems


def _replace(values: Any, key: tuple[str | int, ...], value: Any) -> None:
    for part in key[:-1]:
        values = values[part]
    values[key[-1]] = value


def _equal_fingerprints(runs: list[Run]) -> list[Problem]:
    seen: dict[str, Run] = {}
    problems = []
    for run in runs:
        first = seen.setdefault(run.fingerprint, run)
        if first is not run:
            problems.append(
                Problem(
                    f"two runs would be one (fingerprint {run.fingerprint[:8]}): {_shown(first)} "
                    f"and {_shown(run)} differ in nothing that can change results; "
                    "take one of them out",
                    where=run.where,
                )
            )
    return problems


def _shown(run: Run) -> str:
    point = ", ".join(f"{key}={value}" for key, value in run.point.items())
    return f"'{run.name}' of {run.where}" + (f" ({point})" if point else "")
