"""Run of a TRL trainer, as far as its folder tells: weights of the rewards, model, versions.

A trainer leaves its arguments in ``training_args.bin``, of the folder or of a checkpoint; its log
in a checkpoint's ``trainer_state.json``; and a model card in ``README.md``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from common.errors import UserError
from grue.interop.inert_pickle import attributes

ARGUMENTS, STATE, CARD = "training_args.bin", "trainer_state.json", "README.md"
COMPLETIONS = "completions"
_MEAN_OF_REWARD = re.compile(r"rewards/(.+)/mean")
_VERSION = re.compile(r"^- (\w+): (\S+)$", re.MULTILINE)
_METHOD = re.compile(r"^This model was trained with ([\w-]+)", re.MULTILINE)


@dataclass(frozen=True)
class TrlRun:
    """A run's folder, with what could be read in it."""

    folder: Path
    read: Path | None = None
    """File of the trainer's arguments; None if there is none that can be read."""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def rewards_among(self, numbers: Sequence[str]) -> list[str]:
        """Return the columns of numbers that are rewards.

        Rewards come before what reward functions log beside them. Without a checkpoint's log or the
        weights all columns are taken for rewards.
        """
        if self.reward_names is not None:
            return [name for name in numbers if name in self.reward_names] or [*numbers]
        weights = self.arguments.get("reward_weights")
        return [*numbers[: len(weights)]] if isinstance(weights, list) else [*numbers]

    def weights(self, names: Sequence[str]) -> dict[str, float] | None:
        """Return the weights of the rewards ``names``, which are all of the run's in its order.

        None if the arguments cannot be read, or are of another number of rewards.
        """
        if self.read is None:
            return None
        given = self.arguments.get("reward_weights")
        if given is None:
            return dict.fromkeys(names, 1.0)
        if not isinstance(given, list) or len(given) != len(names):
            return None
        return {name: float(weight) for name, weight in zip(names, given, strict=True)}

    @property
    def normalizes_each(self) -> bool:
        """True if rewards were normalised one by one within groups before they were added."""
        return self.arguments.get("multi_objective_aggregation") == "normalize_then_sum"

    @cached_property
    def reward_names(self) -> list[str] | None:
        """Names of the rewards, as the last checkpoint's log has them; None without one."""
        for path in self._newest(STATE):
            history = _json(path).get("log_history")
            names = {
                match[1]: None
                for row in (history if isinstance(history, list) else [])
                for name in row
                if (match := _MEAN_OF_REWARD.fullmatch(name))
            }
            if names:
                return list(names)
        return None

    def provenance(self) -> dict[str, Any]:
        """Return trainer, model, data set and versions, None for what the model card lacks."""
        card = _text(self.folder / CARD)
        method = _METHOD.search(card)
        return {
            "trainer": method[1] if method else None,
            "model": _entry(card, "base_model"),
            "dataset": _entry(card, "datasets"),
            "versions": dict(_VERSION.findall(card)),
            "seed": self.arguments.get("seed"),
        }

    def _newest(self, name: str) -> Iterator[Path]:
        """Yield the files of this name: the folder's own, then checkpoints', the newest first."""
        checkpoints = self.folder.glob("checkpoint-*")
        yield from (
            path
            for folder in (self.folder, *sorted(checkpoints, key=_step, reverse=True))
            if (path := folder / name).is_file()
        )


def run_of(files: Sequence[Path]) -> TrlRun:
    """Return the run that has left tables of completions, or folders of them."""
    folder = files[0] if files[0].is_dir() else files[0].parent
    found = TrlRun(folder.parent if folder.name == COMPLETIONS else folder)
    for path in found._newest(ARGUMENTS):
        try:
            return TrlRun(found.folder, path, attributes(path))
        except UserError:
            continue  # a checkpoint's may be whole
    return found


def _step(checkpoint: Path) -> int:
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_text(path))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


def _entry(card: str, key: str) -> str | None:
    """Return an entry of the card's header: a text, or the texts of a list."""
    import yaml

    if not card.startswith("---\n"):
        return None
    try:
        header = yaml.safe_load(card.removeprefix("---\n").partition("\n---")[0])
    except yaml.YAMLError:
        return None
    value = header.get(key) if isinstance(header, dict) else None
    return ", ".join(map(str, value)) if isinstance(value, list) else value
