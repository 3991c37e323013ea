"""Drafts of a plan's runs, made from layers, options, seeds and overrides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from common.config.resolve import unknown_keys
from common.custom.hooks import asking
from common.errors import Problem
from common.experiment import Experiment
from common.key_paths import Key, key_path
from common.plan.config_merge import Layer, Layering
from common.plan.entry import Entry
from common.plan.overrides import Overrides
from common.plan.reading import Reading
from common.plan.sweep import Draft, Product, axes, without_unknown

_MOST_RUNS = 100_000
"""Largest number of runs of a configuration; their check alone takes a minute."""


class Drafting:
    """Maker of the runs' values, each with the keys that its experiment knows.

    A key of the plan's base, of an extended configuration, or of an override for all stages applies
    to the runs that know it. An override that no run knows is applied to all, so that each reports
    the problem.
    """

    def __init__(
        self,
        reading: Reading,
        overrides: Overrides,
        entries: Iterable[tuple[Entry, Experiment | None]],
    ) -> None:
        self.reading = reading
        self.overrides = overrides
        known = [self._known_overrides(entry, spec) for entry, spec in entries if spec]
        self.strange_overrides = overrides.for_all().keys() - set().union(*known)

    def drafts(self, entry: Entry, spec: Experiment) -> tuple[int, Iterator[Draft]]:
        """Return the number of runs of one configuration, and them in the order of the product."""
        known = self._known_overrides(entry, spec) | self.strange_overrides
        of_all = [layer for layer in self._of_all(spec) if layer.values.keys() <= known]
        product = self._known_product(entry, spec, [*of_all, *self._of_stage(entry)])
        return product.count, self._known_drafts(entry, spec, product)

    def _known_drafts(self, entry: Entry, spec: Experiment, product: Product) -> Iterator[Draft]:
        for draft in product.drafts():
            is_alone = not entry.below  # nothing lies under its own keys
            yield draft if is_alone else without_unknown(draft, _unknown(entry, spec, draft))

    def _known_product(self, entry: Entry, spec: Experiment, overrides: Sequence[Layer]) -> Product:
        """Return the product of the options; of inherited ones only if the runs know them."""
        options: dict[str, Sequence[Any]] = dict(entry.configuration.options)
        product = self._product(entry, spec, options, overrides)
        if not entry.inherited_options:
            return product
        unknown = _unknown(entry, spec, next(product.drafts()))
        strange = {key for key in entry.inherited_options if _is_in(key, unknown)}
        known = {key: values for key, values in options.items() if key not in strange}
        return self._product(entry, spec, known, overrides)

    def _product(
        self,
        entry: Entry,
        spec: Experiment,
        options: Mapping[str, Sequence[Any]],
        overrides: Sequence[Layer],
    ) -> Product:
        seeds = entry.configuration.seeds or self.reading.document.seeds
        moved = tuple(key for key in spec.config.seed_keys if key not in entry.fixed)
        overridden = {key for layer in overrides for key in layer.values}
        layering = Layering(entry.layers, frozenset(options), tuple(overrides))
        return Product(layering, axes(options, seeds, moved, overridden))

    def _known_overrides(self, entry: Entry, spec: Experiment) -> set[str]:
        """Return the overrides whose keys the configuration knows; others are for other ones."""
        of_all = self._of_all(spec)
        if not of_all:
            return set()
        product = self._known_product(entry, spec, [*of_all, *self._of_stage(entry)])
        first = next(self._known_drafts(entry, spec, product))
        unknown = _unknown(entry, spec, first)
        return {key for layer in of_all for key in layer.values if not _is_in(key, unknown)}

    def _of_all(self, spec: Experiment) -> list[Layer]:
        """Return the overrides for all stages that begin with a key of the experiment."""
        return [
            self._layer(key, key, value)
            for key, value in self.overrides.for_all().items()
            if key.partition(".")[0] in spec.config.model_fields
        ]

    def _of_stage(self, entry: Entry) -> list[Layer]:
        """Return the overrides for this configuration alone."""
        stage = entry.configuration.id
        return [
            self._layer(f"{stage}.{key}", key, value)
            for key, value in self.overrides.for_stage(stage).items()
        ]

    def _layer(self, written: str, key: str, value: Any) -> Layer:
        return Layer(self.reading.source(written), {key: value}, replaces=True)


def too_many(count: int, repetitions: int, where: str) -> Problem | None:
    """Return the problem of a configuration with too many runs to check; None if there are fewer.

    ``count`` are those without repetitions.
    """
    runs = count * repetitions
    if runs <= _MOST_RUNS:
        return None
    most = f"{runs:,} runs of {where}; a configuration has at most {_MOST_RUNS:,}"
    if repetitions > 1:
        return Problem(f"makes {most}; lower it, or take options out", "repetitions", repetitions)
    return Problem(f"make, with the seeds, {most}; take some out", "options", where=where)


def _unknown(entry: Entry, spec: Experiment, draft: Draft) -> list[Key]:
    """Return the keys of a run that its experiment does not know."""
    with asking(entry.experiment, "fix_legacy_keys"):
        meant, _ = spec.fix_legacy_keys(draft.values)
    return unknown_keys(spec.config, meant)


def _is_in(key: str, unknown: Iterable[Key]) -> bool:
    """Return whether a dotted key is one of the unknown ones, or part of one."""
    return any(f"{key}.".startswith(f"{key_path(strange)}.") for strange in unknown)
