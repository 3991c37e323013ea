"""Plans that do not name their experiment: what their keys say."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from common.errors import Problem
from common.experiment import Experiment
from common.plan.base_config_files import BASE
from common.plan.entry import Entry
from common.registry import Registry

_MOST_KEYS = 6


def forgotten_experiment(entry: Entry, experiments: Registry[Experiment]) -> Problem | None:
    """Return the problem of a configuration most of whose keys belong to another experiment.

    A configuration that names its experiment inside its base has it too. ``entry.experiment`` is
    the default, used because none is written.
    """
    for layer in entry.own:
        if "experiment" in layer.values:
            return Problem("is inside 'base_config'; write it next to 'base_config'",
                           "experiment", layer.values["experiment"], entry.where)  # fmt: skip
    keys = _keys(entry)
    strange = keys - _names(experiments.get(entry.experiment))
    if not strange:
        return None
    known = {name: len(keys & _names(experiments.get(name))) for name in experiments.names()}
    best = [name for name, count in known.items() if count == max(known.values())]
    if entry.experiment in best:
        return None
    meant = " or ".join(f"'{name}'" for name in best)
    return Problem(
        f"is not given, so '{entry.experiment}' was taken, which does not know "
        f"{_listed(sorted(strange))}; most of the keys belong to {meant}: add "
        f"\"experiment\": \"{best[0]}\"",
        "experiment", where=entry.where,
    )  # fmt: skip


def with_claimed_experiment(entry: Entry, experiments: Registry[Experiment]) -> Entry:
    """Return a configuration without an experiment with the one whose published plans name none.

    It has the default still if that knows all its keys, or if no experiment claims them.
    """
    keys = _keys(entry)
    if keys <= _names(experiments.get(entry.experiment)):
        return entry
    claiming = (name for name in experiments.names() if experiments.get(name).claims(keys))
    return replace(entry, experiment=next(claiming, entry.experiment))


def _keys(entry: Entry) -> set[str]:
    """Return the keys of the configuration, or else the plan's keys for all configurations."""
    of_plan = {key for layer in entry.layers if layer.where == BASE for key in layer.values}
    said = {key for layer in entry.layers if layer.where != BASE for key in layer.values}
    said |= {key.partition(".")[0] for key in entry.configuration.options}
    return said or of_plan


def _names(experiment: Experiment) -> set[str]:
    return set(experiment.config.key_names())


def _listed(keys: Iterable[str]) -> str:
    """Return the first of the keys, in quotes."""
    first, *rest = (f"'{key}'" for key in keys)
    shown = [first, *rest][:_MOST_KEYS]
    return ", ".join(shown) + (", ..." if len(rest) >= _MOST_KEYS else "")
