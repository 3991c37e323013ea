"""Runs that are yet to be made: what they will leave for figures, as far as their keys tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.custom.user_code import CUSTOM
from common.errors import Problem
from common.key_paths import value_at

if TYPE_CHECKING:
    from common.plan.run import Run

_TRAIN_IN_STEPS = {"grue_finetune", "grue_classifier", "reward_model"}


@dataclass(frozen=True)
class PlannedRun:
    """A run of a checked plan."""

    run: Run

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Keys of the run, as its ``config.json`` will have them."""
        return self.run.config.model_dump(mode="json")

    @property
    def experiment(self) -> str:
        """Name of its experiment."""
        return self.run.experiment

    @property
    def is_users(self) -> bool:
        """True if a user's experiment makes the run, which may leave anything."""
        return self.experiment.startswith(CUSTOM)

    def key(self, path: str, default: Any = None) -> Any:
        """Return the value of a (dotted) key; ``default`` if the run has no such key."""
        return value_at(self.config, path, default)


Leaves = Callable[[PlannedRun], bool]
"""Function that returns whether a run of the project's own experiments will leave a table."""


def of_experiment(name: str) -> Leaves:
    """Return the function that is true for the runs of one experiment."""
    return lambda run: run.experiment == name


def changes_labels(run: PlannedRun) -> bool:
    """Return whether some inputs of a controlled run have a changed label.

    The user's own data may say so of theirs.
    """
    if run.experiment != "sft_vs_rft":
        return False
    size, share = run.key("num_train_samples"), run.key("frac_samples_to_modify_labels")
    is_some = share > 0 and (size <= 0 or int(size * share) > 0)  # no size takes all
    return is_some or run.key("data_path") is not None


def trains_in_steps(run: PlannedRun) -> bool:
    """Return whether a text run logs metrics by step and epoch."""
    return run.experiment in _TRAIN_IN_STEPS


def finetunes(run: PlannedRun) -> bool:
    """Return whether a text run finetunes a model."""
    return run.experiment == "grue_finetune"


def is_supervised(run: PlannedRun) -> bool:
    """Return whether a text run finetunes by references."""
    return finetunes(run) and "supervised" in str(run.key("alg.id"))


def finetunes_by_rewards(run: PlannedRun) -> bool:
    """Return whether a text run finetunes by rewards."""
    return finetunes(run) and not is_supervised(run)


def has_penalty(run: PlannedRun) -> bool:
    """Return whether a text run finetunes by rewards with a KL penalty."""
    return finetunes_by_rewards(run) and run.key("alg.kl_div") is not None


def draws_groups(run: PlannedRun) -> bool:
    """Return whether a text run draws several outputs of each input, which tell shares of groups.

    Of a user's algorithm that is not known, so that it may.
    """
    num_samples = run.key("alg.args.num_samples_per_input", 2)
    return finetunes_by_rewards(run) and num_samples > 1


def samples(run: PlannedRun) -> bool:
    """Return whether a text run samples several outputs of each input."""
    is_sampled = run.experiment in ("grue_extract", "teacher")
    return is_sampled and run.key("evaluation.num_samples_per_input") > 1


def made_by(run: PlannedRun, kind: Leaves) -> bool:
    """Return whether a run of this kind has made a run's model, or one before that.

    What a folder holds that is not the plan's own is not known, so that it may be.
    """
    sources = [PlannedRun(reference.run) for reference in run.run.references]
    if any(source.is_users or kind(source) or made_by(source, kind) for source in sources):
        return True
    names = (run.key(key) for key in ("alg.policy.args.model_name", "alg.model_name"))
    return any(isinstance(name, str) and Path(name).is_dir() for name in names)


def none_logs(
    runs: Sequence[PlannedRun], key: str, metric: str, split: str | None = None
) -> Iterator[Problem]:
    """Yield the problem of a metric, the value of the option ``key``, that none of the runs logs.

    With a split, the metric may be logged with the split before its name, or without.
    """
    names = [metric] if split is None else [f"{split}/{metric}", metric]
    if not runs or any(_may_log(run, name) for run in runs for name in names):
        return
    with_split = f"val/{metric}"
    if split is None and any(run.run.config.logs(with_split) for run in runs):
        fix = f"evaluations log it with their split: write '{with_split}', for example"
    else:
        fix = f"add its metric to the runs' 'metrics', or choose another '{key}'"
    yield Problem(f"no run of the plan will measure it{_on(split)}; {fix}", key, metric)


def _may_log(run: PlannedRun, name: str) -> bool:
    return run.is_users or run.run.config.logs(name) is not False


def _on(split: str | None) -> str:
    return "" if split is None else f" on '{split}'"
