"""Grouping runs: what is one variant, what sets variants apart, and how that is said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from plots.methods import in_order
from plots.runs import Run

SEEDS = {"random_seed", "samples_rnd_seed", "init_rnd_seed"}
NAMES_AND_PATHS = {
    "experiment_name",
    "outputs_dir",
    "data_dir",
    "gpu_ids",
    "load_model_from_checkpoint",
    "trainer_checkpoint",
}
WITHIN_VARIANT = SEEDS | NAMES_AND_PATHS | {"opt_method"}
"""The keys in which the runs of one variant may differ."""

_SPELLED = {
    "mnist": "MNIST",
    "fmnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "cifar100coarse": "CIFAR-100, 20 classes",
    "svhn": "SVHN",
    "stsb": "STS-B",
    "mlp": "MLP",
    "resnet18": "ResNet-18",
    "bert-mini": "BERT-mini",
    "labels": "low initial reward",
    "labels_with_custom": "high initial reward",
}
_VALUE_SAYS_IT_ALL = {"dataset", "model_type", "optimizer", "reward_type"}


@dataclass(frozen=True)
class Variant:
    """Runs that differ in seed and method alone."""

    title: str
    """What sets it apart from the other variants; empty when it is the only one."""
    methods: dict[str, list[Run]]
    """The runs by ``opt_method``, in the order of `METHODS`."""


def variants(runs: Sequence[Run], aside: frozenset[str] = frozenset()) -> list[Variant]:
    """The runs in groups, in order of first appearance.

    ``aside`` are keys in which the runs of one group may differ too.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(json.dumps(_settings(run, aside), sort_keys=True), []).append(run)
    settings = [_settings(group[0], aside) for group in groups.values()]
    keys = dict.fromkeys(key for values in settings for key in values)
    varying = [key for key in keys if any(s.get(key) != settings[0].get(key) for s in settings)]
    return [
        Variant(", ".join(in_words(key, values.get(key)) for key in varying), _by_method(group))
        for values, group in zip(settings, groups.values(), strict=True)
    ]


def subject(runs: Sequence[Run]) -> str:
    """Dataset and model, as far as all runs share them: ``"MNIST, MLP"``."""
    shared = []
    for key in ("dataset", "model_type"):
        values = {str(run.config.get(key, "")) for run in runs}
        shared += [in_words(key, *values)] if len(values) == 1 and "" not in values else []
    return ", ".join(shared)


def in_words(key: str, value: Any) -> str:
    """A key's value as a title says it: ``"lr 1e-4"``, ``"high initial reward"``."""
    words = key.replace("_", " ")
    if value is None or value is False or value == "":
        return f"no {words}"
    if value is True:
        return words
    return _shown(value) if key in _VALUE_SAYS_IT_ALL else f"{words} {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        exact = repr(value)
        return f"{Decimal(exact):e}" if 0 < abs(value) <= 0.01 else exact.removesuffix(".0")
    if isinstance(value, list):
        return "-".join(_shown(item) for item in value)
    name = str(value)
    if name.startswith("bert:"):  # an id or a folder, whose last part names the model
        name = Path(name).name.removeprefix("bert:")
    return _SPELLED.get(name, name)


def _settings(run: Run, aside: frozenset[str]) -> dict[str, Any]:
    """What the runs of a variant agree on; a key that is not given counts as None."""
    return {
        key: value
        for key, value in run.config.items()
        if key not in WITHIN_VARIANT | aside and value is not None
    }


def _by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
    names = in_order([run.method for run in runs])
    return {name: [run for run in runs if run.method == name] for name in names}
