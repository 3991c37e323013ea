"""Inheritance of configurations: ``"extends": "<id>"``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from common.errors import Problem
from common.plan.config_merge import Layer, laid
from common.plan.entry import Entry
from common.registry import suggestion


def extended(
    entries: Sequence[Entry], default_experiment: str
) -> tuple[list[Entry], list[Problem]]:
    """Return the entries with the keys that they inherit, and the problems of ``extends``.

    An entry that extends an unknown configuration has no experiment, so that no runs are made from
    an incomplete set of keys.
    """
    by_id = {entry.configuration.id: entry for entry in reversed(entries)}
    known = sorted(name for name in by_id if name)
    whole: dict[int, Entry] = {}
    problems: list[Problem] = []

    def _extend(entry: Entry, above: tuple[Entry, ...]) -> Entry:
        if entry.position not in whole:
            wanted = entry.configuration.extends
            message = _why_not(entry, above, known)
            if message is not None:
                problems.append(Problem(message, "extends", wanted, entry.where))
                whole[entry.position] = replace(entry, experiment="")
            elif wanted is not None:
                source = _extend(by_id[wanted], (*above, entry))
                whole[entry.position] = _over(source, entry, default_experiment)
            else:
                whole[entry.position] = entry
        return whole[entry.position]

    return [_extend(entry, ()) for entry in entries], problems


def _why_not(entry: Entry, above: Sequence[Entry], known: list[str]) -> str | None:
    """Return why an entry, which the entries ``above`` extend, cannot inherit; None if it can."""
    wanted = entry.configuration.extends
    if wanted is None:
        return None
    if wanted not in known:
        hint = suggestion(wanted, known) or f"; known: {', '.join(known) or 'none'}"
        return f"no configuration has this id{hint}"
    ids = [one.configuration.id or one.where for one in (*above, entry)]
    if wanted in ids:
        ring = " -> ".join([*ids[ids.index(wanted) :], wanted])
        return f"the configurations extend each other: {ring}; break the ring"
    return None


def _over(source: Entry, entry: Entry, default_experiment: str) -> Entry:
    """Return ``entry`` laid over the complete ``source``."""
    own, begun = entry.configuration, source.configuration
    given = {*_dotted(laid(entry.own)), *own.options}
    inherited = [key for key in begun.options if not _is_given(key, given)]
    options = {
        key: own.options.get(key, values)
        for key, values in begun.options.items()
        if key in inherited or key in own.options
    }
    experiment = own.experiment or begun.experiment
    is_readable = source.experiment and entry.experiment
    return replace(
        entry,
        configuration=own.model_copy(
            update={
                "experiment": experiment,
                "seeds": own.seeds or begun.seeds,
                "gpus_per_run": own.gpus_per_run or begun.gpus_per_run,
                "resources": own.resources or begun.resources,
                "timeout_minutes": own.timeout_minutes or begun.timeout_minutes,
                "options": options | own.options,
            }
        ),
        experiment=(experiment or default_experiment) if is_readable else "",
        experiment_at=entry.where if own.experiment else source.experiment_at,
        is_whole=entry.is_whole and source.is_whole,
        below=(*source.below, *_as_extended(source)),
        inherited_options={
            key: source.inherited_options.get(key, source.where) for key in inherited
        },
        fixed=source.fixed | given if own.seeds is None and begun.seeds else frozenset(),
    )


def _as_extended(source: Entry) -> Iterator[Layer]:
    """Yield the own layers of a configuration as inherited layers."""
    for layer in source.own:
        name = f"extends '{source.configuration.id}'"
        yield replace(layer, source=name, where=source.where)


def _is_given(option: str, given: set[str]) -> bool:
    """Return whether a given key is the option, an object that holds it, or a part of it."""
    return any(
        option == key or option.startswith(f"{key}.") or key.startswith(f"{option}.")
        for key in given
    )


def _dotted(values: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """Yield the dotted paths of the single values in nested objects."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"
