"""Preflight checks of a run's data: every split that it reads, if it is local."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from common.custom.user_code import naming
from common.errors import Problem, UserError
from common.hashing import fingerprint
from common.key_paths import key_path
from common.plan.run import Run
from grue.experiments.preflight.cache import Answers
from grue.runs.config import TextConfig
from grue.tasks.config import DatapoolConfig, TaskConfig
from grue.tasks.inputs import load_inputs, read_samples
from grue.tasks.sources.held_out import LocalArgs
from grue.tasks.task import Sample, Split

T = TypeVar("T")


@dataclass(frozen=True)
class KnownSplit:
    """Facts about a split's samples that runs need before they start."""

    num_samples: int
    num_references: int
    bare: str | None
    """Prompt of the first sample without references; None if all have some."""
    has_text: bool
    """True if any reference is not blank."""
    metadata: frozenset[str]
    """Names of the metadata that any sample has."""
    shared_metadata: frozenset[str]
    """Names of the metadata that every sample has."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> KnownSplit:
        """Count the samples and their references."""
        bare = next((sample.prompt for sample in samples if not sample.references), None)
        texts = [text for sample in samples for text in sample.references]
        has_text = any(text.strip() for text in texts)
        names = [frozenset(sample.metadata) for sample in samples]
        shared = frozenset.intersection(*names)
        return cls(len(samples), len(texts), bare, has_text, frozenset().union(*names), shared)


def data_problems(run: Run, answers: Answers) -> Iterator[Problem]:
    """Yield the problems of splits of the run's task that cannot be read, or will not be there."""
    config = run.config
    assert isinstance(config, TextConfig)
    yield from _of_one_file(run, config)
    for split in config.splits:
        found = known_split(run, split, answers)
        if isinstance(found, UserError):
            yield Problem(str(found))


def known_split(run: Run, split: Split, answers: Answers) -> KnownSplit | UserError | None:
    """Return the facts about the split; None if they are known later."""
    assert isinstance(run.config, TextConfig)
    return of_datapool(run.config.datapool, split, answers, made_later(run, "datapool"))


def of_datapool(
    config: DatapoolConfig, split: Split, answers: Answers, is_made_later: bool
) -> KnownSplit | UserError | None:
    """Return the facts about a split of any data, as `known_split` does."""

    def look() -> KnownSplit:
        with naming(config.id):
            return KnownSplit.of(load_inputs(config, split, seed=0).samples)

    return _looked_at(config, split, look, answers, is_made_later)


def of_task(config: TaskConfig, answers: Answers, is_made_later: bool) -> UserError | None:
    """Return why a task's training samples cannot be read, if known."""

    def look() -> None:
        with naming(config.id):
            read_samples(config, "train", seed=0)

    return _looked_at(config, "train", look, answers, is_made_later)


def _looked_at(
    config: TaskConfig,
    split: Split,
    look: Callable[[], T],
    answers: Answers,
    is_made_later: bool,
) -> T | UserError | None:
    if is_made_later:
        return None
    keys = fingerprint(config.model_dump(mode="json"))
    is_at_hand = answers.once(("at hand", keys), lambda: _is_at_hand(config))
    if isinstance(is_at_hand, UserError):
        return is_at_hand
    return answers.once((split, keys), look) if is_at_hand else None


def _is_at_hand(config: TaskConfig) -> bool:
    with naming(config.id):
        return config.build().is_at_hand()


def made_later(run: Run, key: str) -> bool:
    """Return whether an earlier stage has yet to make a file at ``key`` or below it."""
    return any(f"{key_path(reference.key)}.".startswith(f"{key}.") for reference in run.references)


def _of_one_file(run: Run, config: TextConfig) -> Iterator[Problem]:
    """Yield the problem of a file of an earlier stage that has no held-out part."""
    args = config.datapool.own_keys()
    paths = [r.path for r in run.references if key_path(r.key) == "datapool.args.path"]
    if not (paths and isinstance(args, LocalArgs)):
        return
    others = [split for split in config.splits if split != "train"]
    if Path(paths[0]).suffix and others and not args.held_out:
        yield Problem(
            f"one file holds the training split alone, and this run also reads {_named(others)}; "
            "set it above 0, for example 0.1",
            "datapool.args.held_out",
            args.held_out,
        )


def _named(splits: Sequence[Split]) -> str:
    return " and ".join(f"'{split}'" for split in splits)
