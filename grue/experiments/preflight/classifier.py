"""Preflight checks of runs that train a classifier."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from common.errors import Problem, UserError
from common.hashing import fingerprint
from common.plan.run import Run
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.classifier.run import architecture, load_labelled
from grue.experiments.preflight import check as preflight
from grue.experiments.preflight.cache import Answers, problems_of_all
from grue.experiments.preflight.data import KnownSplit, known_split
from grue.experiments.preflight.models import KnownModel, known_model


def check(runs: Sequence[Run]) -> list[Problem]:
    """Return the problems of data, tokenizers, models and arguments, if they are local."""
    return problems_of_all(runs, _problems_of)


def _problems_of(run: Run, answers: Answers) -> Iterator[Problem]:
    config = run.config
    assert isinstance(config, ClassifierConfig)
    alg = config.alg
    yield from preflight.problems_of(run, answers)
    yield from preflight.trainer_problems(run, alg.training_args, answers)
    found: list[UserError | None] = []
    is_here = Path(alg.model_name).is_dir()
    if is_here and isinstance(known_model(run, "alg.model_name", answers), KnownModel):
        found.append(answers.once(("sizes", repr(alg)), lambda: architecture(alg, {})))
    if all(isinstance(known_split(run, split, answers), KnownSplit) for split in config.splits):
        data = fingerprint(config.model_dump(mode="json", include=_OF_DATA))
        found.append(answers.once(data, lambda: _look_at_data(config)))
    yield from (Problem(str(error)) for error in found if isinstance(error, UserError))


_OF_DATA = {"datapool", "text", "label_key", "alg"}


def _look_at_data(config: ClassifierConfig) -> None:
    """Read the labels of both splits, and check that the training texts make a batch."""
    from grue.supervised.arguments import check_count

    data, _ = load_labelled(config, seed=0)
    check_count(len(data["train"].texts), config.alg.training_args)
