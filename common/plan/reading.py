"""Reading of a plan file, with the command line's changes applied."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common.config.executors import named
from common.config.resolve import PlaceOf, resolve_valid_keys
from common.custom.user_code import look_in
from common.errors import ConfigError, Problem, UserError
from common.experiment import Experiment
from common.files.documents import read_object
from common.key_paths import merged
from common.plan.base_config_files import BASE, Bases, with_bases
from common.plan.config_merge import Layer
from common.plan.document import Configuration, PlanDocument
from common.plan.duplicate_keys import twins_in_plan, twins_in_set
from common.plan.entry import Entry
from common.plan.inheritance import extended
from common.plan.overrides import Overrides
from common.registry import Registry

_OF_PLAN = dict.fromkeys(PlanDocument.key_names(), "beside 'configurations'")
_OBJECTS = ("executor", "resources")
"""Keys of the plan whose own keys the command line sets one by one, too."""
OUTSIDE_RUNS = _OF_PLAN | dict.fromkeys(Configuration.key_names(), "beside 'base_config'")
"""Place of keys that are no keys of a run."""


@dataclass(frozen=True)
class Reading:
    """A plan file with the command line's changes, as far as it can be read."""

    document: PlanDocument
    entries: list[Entry]
    base: tuple[Layer, ...]
    """Layers of the plan's own ``base_config``, which are below those of the entries."""
    problems: list[Problem]
    """Problems of the keys of the plan and of its configurations."""
    effective: dict[str, Any]
    """Content of the file with the changes in it: a plan that makes the same runs."""
    overrides: dict[str, Any]
    """Overrides by (dotted) key of runs, or of one stage, whose id is the key's first part."""
    from_command_line: frozenset[str]
    """Keys that the command line gives."""

    def source(self, key: str) -> str:
        """Return the place where an overridden key is given."""
        return "--set" if key in self.from_command_line else "set"

    def names_experiment(self, entry: Entry) -> bool:
        """Return whether the plan names the experiment of a configuration."""
        return entry.configuration.experiment is not None or "experiment" in self.effective

    def placed(self, problem: Problem, overrides: Overrides) -> Problem:
        """Return the problem, placed at ``set`` or ``--set`` if its value comes from there."""
        ids = {entry.where: entry.configuration.id for entry in self.entries}
        if problem.where not in ids:
            overrides = Overrides(dict.fromkeys(self.from_command_line), frozenset())
        stage = ids.get(problem.where)
        for key, is_of_stage in overrides.sources(problem.key or "", stage):
            return (problem.below(str(stage)) if is_of_stage else problem).at(self.source(key))
        return problem


def read_plan(
    path: Path, overrides: Mapping[str, Any], experiments: Registry[Experiment]
) -> Reading:
    """Return the plan in ``path`` with ``overrides``, by key of the plan or of its runs, applied.

    From then on, users' modules are searched in its folder too. A file with the keys of one run,
    without a plan, is read as the plan of that run if one of ``experiments`` recognises it.

    Raises:
        UserError: the file cannot be read.
        ConfigError: it has no list of configurations.
    """
    look_in(path.parent)
    overrides = _with_named_executor(overrides)
    of_plan = {key: value for key, value in overrides.items() if _is_of_plan(key)}
    of_runs = {key: value for key, value in overrides.items() if not _is_of_plan(key)}
    content = _with_named_executor(_plan_in(path, experiments))
    twice = [*twins_in_plan(content), *(p.at("--set") for p in twins_in_set(overrides))]
    bases = with_bases(_overridden(content, of_plan), path.parent)
    values = bases.values

    @functools.cache  # asked for unknown keys alone: experiments' models take time to load
    def keys_of_runs() -> set[str]:
        specs = map(experiments.get, experiments.names())
        return {key for spec in specs for key in spec.config.key_names()}

    def place_in_plan(key: str) -> str | None:
        if key in keys_of_runs():
            return "in 'base_config' of a configuration"
        return "in a configuration" if key in Configuration.key_names() else None

    def place_in_configuration(key: str) -> str | None:
        return "in 'base_config'" if key in keys_of_runs() else _OF_PLAN.get(key)

    document, problems = resolve_valid_keys(PlanDocument, values, place_in_plan)
    if document is None:
        raise ConfigError(path.name, twice + problems)
    default = "" if _concern("experiment", problems) else document.experiment
    has_base = None not in bases.unread and not _concern(BASE, problems)
    entries, wrong = _read_entries(bases, default, place_in_configuration, has_base=has_base)
    everywhere = document.set_ | of_runs
    return Reading(
        document=document,
        entries=entries,
        base=_of_plan(bases),
        problems=twice + problems + wrong,
        effective=values | ({"set": everywhere} if everywhere else {}),
        overrides=everywhere,
        from_command_line=frozenset(overrides),
    )


def _plan_in(path: Path, experiments: Registry[Experiment]) -> dict[str, Any]:
    """Return the plan in ``path``, wrapped around the keys of a single run if it has only these."""
    if not path.exists():
        raise UserError(f"{path}: no such file; give a plan with --plan_config_path")
    content = read_object(path)
    if "configurations" not in content:
        for name in experiments.names():
            if experiments.get(name).recognises(content):
                return {"experiment": name, "configurations": [{"base_config": content}]}
    return content


def _overridden(values: dict[str, Any], of_plan: dict[str, Any]) -> dict[str, Any]:
    """Return the plan with keys of its own, or inside of them, replaced.

    Seeds given here replace those of all configurations.
    """
    entries = values.get("configurations")
    if "seeds" in of_plan and isinstance(entries, list):
        values = {**values, "configurations": [_without_seeds(entry) for entry in entries]}
    whole = {key: value for key, value in of_plan.items() if key in PlanDocument.key_names()}
    inside = {key: value for key, value in of_plan.items() if key not in whole}
    return merged(values | whole, inside)


def _with_named_executor(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values with the executor as an object, inside of which there may be others."""
    return {**values, "executor": named(values["executor"])} if "executor" in values else {**values}


def _is_of_plan(key: str) -> bool:
    return key in PlanDocument.key_names() or key.partition(".")[0] in _OBJECTS


def _without_seeds(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    return {key: value for key, value in entry.items() if key != "seeds"}


def _read_entries(
    bases: Bases, default_experiment: str, place_of: PlaceOf, *, has_base: bool
) -> tuple[list[Entry], list[Problem]]:
    """Return the configurations as far as they can be read, and the problems of their own keys.

    If the plan's base cannot be read, they lack keys, and no other problems are reported.
    """
    entries = []
    problems = [bases.unread[None]] if None in bases.unread else []
    of_plan = _of_plan(bases)
    for position, content in enumerate(bases.values["configurations"]):
        if not isinstance(content, dict):
            continue  # wrong as an entry of the plan
        configuration, wrong = resolve_valid_keys(Configuration, content, place_of)
        assert configuration is not None, "no key of a configuration is required"
        entry = Entry(
            position=position,
            configuration=configuration,
            experiment=configuration.experiment or default_experiment,
            experiment_at=f"configurations[{position}]",
            is_whole=not wrong,
            below=of_plan,
            own=_layers(bases, position, BASE),
        )
        if _concern("experiment", wrong) or position in bases.unread or not has_base:
            entry = replace(entry, experiment="")
        entries.append(entry)
        problems += [problem.at(entry.where) for problem in wrong]
        problems += [bases.unread[position]] if position in bases.unread else []
    entries, wrong = extended(entries, default_experiment)
    return entries, problems + wrong


def _of_plan(bases: Bases) -> tuple[Layer, ...]:
    """Return the layers of the plan's own base."""
    return _layers(bases, None, f"{BASE} of the plan", where=BASE)


def _layers(bases: Bases, position: int | None, source: str, where: str = "") -> tuple[Layer, ...]:
    """Return the layers of the base of a configuration, or of the plan at None.

    Files come first.
    """
    return tuple(Layer(source, keys, file, where) for file, keys in bases.parts.get(position, []))


def _concern(key: str, problems: list[Problem]) -> bool:
    return any(problem.key == key for problem in problems)
