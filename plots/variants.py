"""Groups of runs: variants, the keys that distinguish them, and their labels."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from common.key_paths import value_at
from plots.methods import in_order, method
from plots.runs import Run

SEEDS = {"random_seed", "samples_rnd_seed", "init_rnd_seed", "train_samples_rnd_seed", "seed"}
TRACKERS = {
    "use_tensorboard",
    "use_wandb",
    "use_trackio",
    "wandb_project_name",
    "wandb_entity_name",
    "wandb_resume_id",
    "wandb_track_model",
    "wandb_exclude_files",
    "project_name",
    "entity_name",
    "log_to_wandb",
}
NAMES_AND_PATHS = TRACKERS | {
    "experiment_name",
    "outputs_dir",
    "output_path",
    "output_file_suffix",
    "base_path_to_store_results",
    "data_dir",
    "gpu_ids",
    "load_model_from_checkpoint",
    "trainer_checkpoint",
    "log_entire_predictions",
    "upload_model_to_wandb",
}
WITHIN_VARIANT = SEEDS | NAMES_AND_PATHS | {"opt_method"}
"""Keys in which the runs of one variant may differ; for a nested key, its last part."""

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
    "seq2seq": "encoder-decoder",
}
_VALUE_SAYS_IT_ALL = {"dataset", "model_type", "optimizer", "reward_type", "id", "model_name"}
_OF_DATASET = ("datapool", "alg.model_type", "evaluation.split")
_FILE_OF_RUN = re.compile(r"(?:.*/)?(?P<name>[^/]+)-[0-9a-f]{8}(?:-rep\d+)?/[^/]+")
"""Pattern of the path of a file in a run folder."""


@dataclass(frozen=True)
class Variant:
    """Runs that differ in seed and method alone."""

    title: str
    """Label of the keys that distinguish it from the other variants; empty if it is the only
    one."""
    methods: dict[str, list[Run]]
    """Runs by ``opt_method``, in the order of `METHODS`."""


def variants(runs: Sequence[Run], aside: frozenset[str] = frozenset()) -> list[Variant]:
    """Return the runs in groups, in order of first appearance.

    The runs of one group may also differ in the keys ``aside``.
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(kind(run.config, aside), []).append(run)
    titles = _differences([_settings(group[0].config, aside) for group in groups.values()])
    return [
        Variant(title, _by_method(group))
        for title, group in zip(titles, groups.values(), strict=True)
    ]


def kind(config: Mapping[str, Any], aside: frozenset[str] = frozenset()) -> str:
    """Return what the configurations of runs share that differ in seeds and names alone.

    They may also differ in the keys ``aside``.
    """
    return json.dumps(_settings(config, aside), sort_keys=True)


def named_groups(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Return runs that differ in seeds alone, with their labels.

    A label is the runs' name (``experiment_name``) if they share one that no other group has;
    otherwise it is their method and the keys that distinguish them from other runs of that method.
    """
    found = []
    for name in in_order([run.method for run in runs]):
        for variant in variants([run for run in runs if run.method == name]):
            words = ", ".join(filter(None, [method(name).label, variant.title]))
            found.append((words, variant.methods[name]))
    names = [{run.name for run in group} for _, group in found]
    taken = Counter(name for group in names for name in group)
    return [
        (next(iter(own)) if len(own) == 1 and taken[next(iter(own))] == 1 else words, group)
        for own, (words, group) in zip(names, found, strict=True)
    ]


def names(runs: Sequence[Run]) -> list[str]:
    """Return the label of each run: its name; if others share it, with distinguishing keys.

    Repetitions, which no key distinguishes, are labelled by their folders.
    """
    found = [""] * len(runs)
    for name in {run.name for run in runs}:
        places = [place for place, run in enumerate(runs) if run.name == name]
        apart = _differences([_flat(runs[place].config, NAMES_AND_PATHS) for place in places])
        for place, words in zip(places, apart, strict=True):
            found[place] = ", ".join(filter(None, [name, words]))
    taken = Counter(found)
    return [
        words if taken[words] == 1 else run.path.name
        for words, run in zip(found, runs, strict=True)
    ]


def _differences(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return, for each of several settings, the values of the keys that differ, in words."""
    keys = dict.fromkeys(key for values in settings for key in values)
    varying = [key for key in keys if any(s.get(key) != settings[0].get(key) for s in settings)]
    return [", ".join(in_words(key, values.get(key)) for key in varying) for values in settings]


def subject(runs: Sequence[Run]) -> str:
    """Return data and model, as far as all runs share them: ``"MNIST, MLP"``."""
    shared = []
    for key in ("dataset", "datapool.id", "model_type"):
        values = {str(value_at(run.config, key, "")) for run in runs}
        shared += [in_words(key, *values)] if len(values) == 1 and "" not in values else []
    return ", ".join(shared)


def dataset_names(runs: Sequence[Run]) -> list[str]:
    """Return the label of each text run's data and model type; runs with equal ones share it.

    It is the task's name with the keys that distinguish it from other data of that task:
    ``"word game, kinds say-turn"``.
    """
    settings = [
        _flat({key: value_at(run.config, key) for key in _OF_DATASET}, NAMES_AND_PATHS | SEEDS)
        for run in runs
    ]
    tasks = [str(values.get("datapool.id", "unknown data")) for values in settings]
    found = [task.replace("_", " ") for task in tasks]
    for task in set(tasks):
        places = [place for place, name in enumerate(tasks) if name == task]
        apart = _differences([settings[place] for place in places])
        for place, words in zip(places, apart, strict=True):
            found[place] = ", ".join(filter(None, [found[place], words]))
    return found


def in_words(key: str, value: Any) -> str:
    """Return a key's value as in titles: ``"lr 1e-4"``, ``"high initial reward"``.

    A nested key (``alg.args.clip_range``) is named by its last part.
    """
    key = key.rpartition(".")[2]
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


def _settings(config: Mapping[str, Any], aside: frozenset[str]) -> dict[str, Any]:
    """Return the keys that the runs of a variant agree on; a missing key counts as None."""
    return _flat(config, WITHIN_VARIANT | aside)


def _flat(config: Mapping[str, Any], left_out: set[str]) -> dict[str, Any]:
    """Return all values by their dotted paths, without None and the ignored keys.

    The path of another run's file counts as that run's name without its hash, so that models made
    once per seed count as equal.
    """
    return {
        path: _FILE_OF_RUN.sub(r"\g<name>", value) if isinstance(value, str) else value
        for path, value in _leaves(config, "")
        if value is not None and path.rpartition(".")[2] not in left_out
    }


def _leaves(values: Mapping[str, Any], above: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, list) and any(isinstance(item, dict) for item in value):
            value = {str(place): item for place, item in enumerate(value)}
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield above + key, value


def _by_method(runs: Sequence[Run]) -> dict[str, list[Run]]:
    names = in_order([run.method for run in runs])
    return {name: [run for run in runs if run.method == name] for name in names}
