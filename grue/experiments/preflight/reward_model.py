"""Preflight checks of runs that train a reward model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common.errors import Problem, UserError
from common.hashing import fingerprint
from common.plan.run import Run
from grue.experiments.preflight import check as preflight
from grue.experiments.preflight.cache import Answers, problems_of_all
from grue.experiments.preflight.data import KnownSplit, known_split, made_later, of_datapool
from grue.experiments.reward_model.config import RewardModelConfig
from grue.experiments.reward_model.run import given_arguments, load_examples


def check(runs: Sequence[Run]) -> list[Problem]:
    """Return the problems of data, tokenizers, models and arguments, if they are local."""
    return problems_of_all(runs, _problems_of)


def _problems_of(run: Run, answers: Answers) -> Iterator[Problem]:
    config = run.config
    assert isinstance(config, RewardModelConfig)
    yield from preflight.problems_of(run, answers)
    yield from preflight.trainer_problems(run, given_arguments(config), answers)
    train = known_split(run, "train", answers)
    if isinstance(train, KnownSplit):  # else it is told already, or not here
        found = answers.once(_examples_key(config), lambda: _look_at_examples(config))
        if isinstance(found, UserError) and str(found) not in _told(run, answers):
            yield Problem(str(found), "datapool")
    prompts = None if config.normalize is None else config.normalize.datapool
    if prompts is not None:
        later = made_later(run, "normalize.datapool")
        read = of_datapool(prompts, "train", answers, later)
        if isinstance(read, UserError):
            yield Problem(str(read), "normalize.datapool")


def _examples_key(config: RewardModelConfig) -> str:
    """Return the keys that determine the examples, and whether they make a batch."""
    given = {"datapool", "alg", "separator"}
    return fingerprint(config.model_dump(mode="json", include=given))


def _told(run: Run, answers: Answers) -> set[str]:
    """Return the problem, once, of data that cannot be read."""
    assert isinstance(run.config, RewardModelConfig)
    return {str(known_split(run, split, answers)) for split in run.config.splits}


def _look_at_examples(config: RewardModelConfig) -> None:
    """Read the examples of both splits; those of training must make a batch."""
    from grue.supervised.arguments import check_count

    found = {split: load_examples(config, split, seed=0) for split in config.splits}
    check_count(len(found["train"]), config.alg.training_args)
