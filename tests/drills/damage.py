"""Damage done to folders of runs: files that are cut, flipped bytes, code in checkpoints."""

from __future__ import annotations

import os
import pickle
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from common.run.status import DONE
from tests.common.executors.site import Site


class _Touching:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return os.mkdir, (str(self.marker),)


@dataclass
class Vandal:
    """Damages files of a plan that nobody works on."""

    site: Site
    plan: str
    dice: random.Random
    marker: Path
    """What appears if code of a checkpoint is executed."""
    done: Counter[str] = field(default_factory=Counter)
    """How often what was done."""

    def damage(self) -> None:
        """Damages one file of each kind, of runs that the dice choose."""
        runs = list(self.site.runs(self.plan).values())
        unfinished = [run for run in runs if run.read_status().get("status") != DONE]
        states = [path for run in unfinished for path in run.checkpoints.glob("*.pt")]
        self._try("status cut", self._cut, [run.status for run in runs])
        self._try("metrics cut", self._cut, [run.metrics for run in unfinished])
        self._try("byte flipped", self._flip, states)
        self._try("code put in", self._put_code, states)

    def _try(self, name: str, action: Callable[[Path], None], paths: list[Path]) -> None:
        found = [path for path in paths if path.exists() and path.stat().st_size]
        if found:
            action(self.dice.choice(found))
            self.done[name] += 1

    def _cut(self, path: Path) -> None:
        os.truncate(path, self.dice.randrange(path.stat().st_size))

    def _flip(self, path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[self.dice.randrange(len(content))] ^= 1 << self.dice.randrange(8)
        path.write_bytes(content)

    def _put_code(self, path: Path) -> None:
        state = {"model": _Touching(self.marker)}
        if self.dice.random() < 0.5:
            torch.save(state, path)
        else:
            path.write_bytes(pickle.dumps(state))


def is_executed(marker: Path, folder: Path) -> bool:
    """Whether such a file runs code in hands that trust it, as the drill supposes."""
    path = folder / "trusted.pt"
    torch.save({"model": _Touching(marker)}, path)
    torch.load(path, weights_only=False)
    found = marker.exists()
    marker.rmdir()
    return found
