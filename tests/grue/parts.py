"""Parts for tests of text runs: a graded task, and metrics that are quick or go wrong."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from common import distributed
from common.config.base import Config
from grue.metrics.metric import Metric, NoArgs, Scores
from grue.rewards.reward import Reward, Rewards
from grue.tasks.task import Sample, Split, Task
from grue.texts import Texts
from tests.ready_guard import NAME

OVERLAP = "custom:tests.grue.parts:Overlap"
BROKEN = "custom:tests.grue.parts:Broken"
SIGNALLING = "custom:tests.grue.parts:Signalling"
EVEN = "custom:tests.grue.parts:Even"
LETTERS = "custom:tests.grue.parts:Letters"
SAME = "custom:tests.grue.parts:Same"
ONE_RANK = "custom:tests.grue.parts:OneRank"
ANIMALS = "custom:tests.grue.parts:Animals"
DRAWN_ANIMALS = "custom:tests.grue.parts:DrawnAnimals"
DRAWING = "custom:tests.grue.parts:Drawing"
NOISY = "custom:tests.grue.parts:Noisy"

_ANIMALS = ("cat", "dog", "cow", "hen", "fox")
_NUM_SAMPLES = {"train": 40, "val": 8, "test": 4}


class AnimalsArgs(Config):
    """The keys of the task."""

    long_prompt: bool = False
    """Whether the first prompt is longer than the model."""
    references: bool = True
    """Whether there are references."""


class Animals(Task[AnimalsArgs]):
    """Prompts that end in an animal, which the reference repeats."""

    Args = AnimalsArgs

    def samples(self, split: Split) -> list[Sample]:
        found = []
        for i in range(_NUM_SAMPLES[split]):
            animal = _ANIMALS[i % len(_ANIMALS)]
            prompt = f"{'very ' * (i % 4)}{animal}"
            if self.args.long_prompt and i == 0:
                prompt = "very " * 300 + animal
            references = (f"the {animal} runs",) if self.args.references else ()
            found.append(Sample(f"{split}_{i}", prompt, references, {"animal": animal}))
        return found


class OverlapArgs(Config):
    """The keys of the metric."""

    key: str = "lexical/overlap"
    """What its scores are called."""


class Overlap(Metric[OverlapArgs]):
    """Share of a reference's letters that the output has too."""

    Args = OverlapArgs

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        texts.check_references("overlap")
        values = [
            len(set(output) & set(references[0])) / len(set(references[0]))
            for output, references in zip(texts.outputs, texts.references, strict=True)
        ]
        return {self.args.key: np.array(values)}


class MarkerArgs(Config):
    """The keys of metrics that go wrong."""

    marker: str
    """A file; while it is missing, the metric is wrong."""
    calls: int = 0
    """Calls that go well before."""


class Broken(Metric[MarkerArgs]):
    """Not a number until its marker is there."""

    Args = MarkerArgs

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        values = np.array([len(output) / 100 for output in texts.outputs])
        if not Path(self.args.marker).exists():
            values[1] = np.nan
        return {"broken": values}


class SignallingArgs(MarkerArgs):
    """The keys of a metric that stops its process."""

    signal: str = "SIGKILL"
    """Which signal."""


class Signalling(Metric[SignallingArgs]):
    """Length of the output; sends its process a signal once, after some calls."""

    Args = SignallingArgs

    def __init__(self, args: SignallingArgs) -> None:
        super().__init__(args)
        self._left = args.calls

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        marker = Path(self.args.marker)
        if self._left == 0 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.Signals[self.args.signal])
        self._left -= 1
        return {"length": np.array([float(len(output)) for output in texts.outputs])}


class Letters(Reward[NoArgs]):
    """Share of an output's letters that are vowels."""

    def __call__(self, texts: Texts) -> Rewards:
        return np.array(
            [sum(map(text.count, "aeiou")) / max(len(text), 1) for text in texts.outputs]
        )


class Even(Reward[NoArgs]):
    """1 for an output of an even number of letters, which is right, and 0 for others."""

    largest = 1.0

    def __call__(self, texts: Texts) -> Rewards:
        return np.array([1.0 - len(text) % 2 for text in texts.outputs])


class Same(Reward[NoArgs]):
    """Equal for all."""

    def __call__(self, texts: Texts) -> Rewards:
        return np.full(len(texts), 0.3)


class OneRankArgs(MarkerArgs):
    """The keys of a reward that goes wrong on one rank."""

    rank: int = 1
    """Which."""
    how: str = "SIGKILL"
    """A signal that the rank sends itself, ``SIGINT`` to the program, or ``error`` for an error."""


def _program() -> int:
    """The process that makes the plan: the worker's parent, or above its server of workers."""
    parents = psutil.Process().parents()
    return next(one.pid for one in parents if NAME not in " ".join([one.name(), *one.cmdline()]))


class OneRank(Reward[OneRankArgs]):
    """Share of vowels; on one rank it goes wrong once, after some calls."""

    Args = OneRankArgs

    def __init__(self, args: OneRankArgs) -> None:
        super().__init__(args)
        self._left = args.calls

    def __call__(self, texts: Texts) -> Rewards:
        marker = Path(self.args.marker)
        if distributed.rank() == self.args.rank:
            if self._left == 0 and not marker.exists():
                marker.touch()
                if self.args.how == "error":
                    raise ZeroDivisionError("as the plan says")
                process = _program() if self.args.how == "SIGINT" else os.getpid()
                os.kill(process, signal.Signals[self.args.how])
            self._left -= 1
        return Letters(NoArgs())(texts)


def draw_from_all() -> float:
    """A number in [0, 3) to which each global generator adds."""
    return random.random() + float(np.random.rand()) + float(torch.rand(()))


class DrawnAnimals(Animals):
    """Prompts with numbers of the global generators before them; the task's own and the split's."""

    def __init__(self, args: AnimalsArgs) -> None:
        super().__init__(args)
        self._own = draw_from_all()

    def samples(self, split: Split) -> list[Sample]:
        return [
            replace(sample, prompt=f"{self._own:.3f} {draw_from_all():.3f} {sample.prompt}")
            for sample in super().samples(split)
        ]


class DrawingArgs(Config):
    """The keys of parts that may draw."""

    draws: bool = True
    """Whether they do."""


class Drawing(Metric[DrawingArgs]):
    """Length of the output; draws from all global generators on the way."""

    Args = DrawingArgs

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        if self.args.draws:
            draw_from_all()
        return {"length": np.array([float(len(output)) for output in texts.outputs])}


class Noisy(Reward[NoArgs]):
    """Share of vowels with noise of all global generators; its size is drawn once."""

    def __init__(self, args: NoArgs) -> None:
        super().__init__(args)
        self._size = draw_from_all()

    def __call__(self, texts: Texts) -> Rewards:
        noise = [self._size * draw_from_all() for _ in texts.outputs]
        return Letters(NoArgs())(texts) + np.array(noise)


def _vowels(outputs: Sequence[str]) -> list[float]:
    return [sum(letter in "aeiou" for letter in text) / (1 + len(text)) for text in outputs]


def quiet_vowels(prompts: Any, outputs: list[str], references: Any, metadata: Any) -> list[float]:
    """Share of vowels."""
    return _vowels(outputs)


def drawing_vowels(prompts: Any, outputs: list[str], references: Any, metadata: Any) -> list[float]:
    """The same; draws from all global generators on the way."""
    draw_from_all()
    return _vowels(outputs)
