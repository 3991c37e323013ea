"""Inputs of a run: the samples of its task, and the subsets that are used."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.custom.user_code import naming
from common.errors import UserError
from grue.tasks.config import DatapoolConfig, TaskConfig
from grue.tasks.sources.subset import subset
from grue.tasks.task import Sample, Split
from grue.texts import Texts

log = logging.getLogger(__name__)

_SPLITS: Sequence[Split] = ("train", "val", "test")


@dataclass(frozen=True)
class Inputs:
    """Samples of one split."""

    samples: Sequence[Sample]
    index: Sequence[int]
    """[N] positions in the whole split, in the order of its source."""

    def __len__(self) -> int:
        return len(self.samples)

    def prompts(self) -> list[str]:
        """Return the prompts, not truncated."""
        return [sample.prompt for sample in self.samples]

    def texts(self, outputs: Sequence[str], rows: Sequence[int] | None = None) -> Texts:
        """Return the texts that rewards and metrics read for outputs of the inputs at ``rows``.

        By default, these are all inputs.
        """
        rows = range(len(self)) if rows is None else rows
        chosen = [self.samples[row] for row in rows]
        return Texts(
            [sample.prompt for sample in chosen],
            list(outputs),
            [sample.references for sample in chosen],
            [sample.metadata for sample in chosen],
        )


def read_samples(config: TaskConfig, split: Split, *, seed: int) -> list[Sample]:
    """Return all samples of a split, in the order of their source.

    A task that uses global random generators gives the same samples for the same ``seed``, in every
    run and attempt, and the generators' states are restored. Its draws in the constructor are the
    same for all splits, which may be parts of one shuffled whole.

    Raises:
        UserError: the task's data cannot be loaded.
    """
    from common.training.seeding import seeded
    from grue.random_streams import Occasion, seed_of

    with seeded(seed):
        task = config.build()
    with seeded(seed_of(Occasion.TASK, seed, _SPLITS.index(split))), naming(config.id):
        return task.samples(split)


def load_inputs(config: DatapoolConfig, split: Split, *, seed: int) -> Inputs:
    """Return the samples of a split that the configuration chooses.

    ``seed`` draws them if the configuration gives no seed of its own.

    Raises:
        UserError: the task's data cannot be loaded, the split has no samples, or none are chosen.
    """
    samples = read_samples(config, split, seed=seed)
    if not samples:
        has_key = "held_out" in config.args
        advice = "; set 'datapool.args.held_out' above 0, for example 0.1" if has_key else ""
        raise UserError(
            f"'datapool.id' = '{config.id}': the split '{split}' has no samples{advice}"
        )
    index = subset(
        len(samples),
        fraction=config.frac_train_samples if split == "train" else None,
        count=config.num_samples(split),
        seed=_seed_of_draw(config, seed),
    )
    if not index:  # of a number, which is positive, there is always one
        raise UserError(
            f"'datapool.frac_train_samples' = {config.frac_train_samples:g}: rounds to none of "
            f"{len(samples)} training samples; raise it to {1 / len(samples):.2g} or more, or give "
            "'num_train_samples'"
        )
    return Inputs([samples[row] for row in index], index)


def evaluated_of_training(config: DatapoolConfig, inputs: Inputs, *, seed: int) -> Inputs:
    """Return the training inputs on which a run is evaluated."""
    count, own_seed = config.num_evaluated_train_samples, _seed_of_draw(config, seed)
    rows = subset(len(inputs), fraction=None, count=count, seed=own_seed)
    return Inputs([inputs.samples[row] for row in rows], [inputs.index[row] for row in rows])


def tell_of_fewer(config: DatapoolConfig, found: Mapping[Split, int]) -> None:
    """Warn if a run has ``found`` fewer samples of a split than configured."""
    wanted = {f"num_{split}_samples": (config.num_samples(split), found[split]) for split in found}
    if "train" in found:
        wanted["num_evaluated_train_samples"] = config.num_evaluated_train_samples, found["train"]
    for key, (asked, count) in wanted.items():
        if asked is not None and count < asked:
            log.warning("'datapool.%s' = %d: there are only %d; all are used", key, asked, count)


def _seed_of_draw(config: DatapoolConfig, seed: int) -> int:
    own = config.train_samples_rnd_seed
    return seed if own is None else own
