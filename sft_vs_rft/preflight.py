"""Preflight check of data, models and checkpoints, before the first run starts."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from common.config.run import RunConfig
from common.errors import Problem, UserError
from common.plan.run import Run
from common.training import checkpoint, training_state
from sft_vs_rft.config import PARTS, ControlledConfig
from sft_vs_rft.data.load_pool import load_pool
from sft_vs_rft.data.pools import Pool
from sft_vs_rft.data.run_data import undrawable_from
from sft_vs_rft.diagnostics import couples_inputs
from sft_vs_rft.model_names import VISION_MODELS, ModelError
from sft_vs_rft.models.build import build_model
from sft_vs_rft.subsets import drawn_size
from sft_vs_rft.trainer import make_optimizer

log = logging.getLogger(__name__)

_MOST_SHOWN = 6


def check(runs: Sequence[Run]) -> list[Problem]:
    """Return the problems of the data, models and checkpoints that ``runs`` name.

    Each file is read once. A checkpoint that an earlier stage has yet to write is compared as the
    model that its keys describe.
    """
    files = _Files()
    problems: list[Problem] = []
    for run in runs:
        sources = {reference.key[0]: reference.run.config for reference in run.references}
        assert isinstance(run.config, ControlledConfig)
        found = list(_run_problems(run.config, sources, files))
        problems += [problem.at(run.where) for problem in found]
    return problems


class _Files:
    """Contents of the runs' files, cached; a file that cannot be used is kept as its error."""

    def __init__(self) -> None:
        self._pools: dict[Hashable, Pool | UserError] = {}
        self._models: dict[Hashable, nn.Module | UserError] = {}
        self._states: dict[str, dict[str, Any] | UserError] = {}

    def pool(self, config: ControlledConfig) -> Pool | UserError:
        """Return the pool of the data."""
        key = config.data_source
        if key not in self._pools:
            try:
                self._pools[key] = pool = load_pool(config)
                _warn_of_empty_classes(config, pool)
            except UserError as error:
                self._pools[key] = error
        return self._pools[key]

    def model(self, config: ControlledConfig, pool: Pool) -> nn.Module | UserError:
        """Return the model without numbers in its weights."""
        key = config.model_type, config.mlp_hidden_layer_sizes, config.data_source
        if key not in self._models:
            try:
                with torch.device("meta"):
                    model = build_model(config, pool.input_shape, pool.num_classes)
                self._models[key] = model
                _warn_of_channels_at_the_end(config, pool)
            except UserError as error:
                self._models[key] = error
        return self._models[key]

    def state(self, path: str) -> dict[str, Any] | UserError:
        """Return the content of a checkpoint, which has at least weights."""
        if path not in self._states:
            try:
                self._states[path] = state = checkpoint.load(Path(path))
                checkpoint.weights(state)
            except UserError as error:
                self._states[path] = error
        return self._states[path]


def _warn_of_empty_classes(config: ControlledConfig, pool: Pool) -> None:
    """Warn of labels that leave a class empty, for example because they count from 1."""
    counts = pool.train_labels.bincount(minlength=pool.num_classes)
    empty = (counts == 0).nonzero()[:, 0].tolist()
    if empty:
        log.warning(
            "%s: no training input has the label %s, of %d classes; labels are counted from 0",
            config.data_path or config.dataset, _shortened(empty), pool.num_classes,
        )  # fmt: skip


def _warn_of_channels_at_the_end(config: ControlledConfig, pool: Pool) -> None:
    """Warn of images whose channels come last, which a model would misread."""
    shape = list(pool.input_shape)
    if config.model_type in VISION_MODELS and shape[-1] in (1, 3) and shape[0] > shape[-1]:
        log.warning(
            "%s: inputs are shaped %s, and '%s' takes that as [channels, height, width]; images "
            "whose channels come last are to be transposed",
            config.data_path or config.dataset, shape, config.model_type,
        )  # fmt: skip


def _shortened(numbers: list[int]) -> str:
    shown = ", ".join(map(str, numbers[:_MOST_SHOWN]))
    return shown + (", ..." if len(numbers) > _MOST_SHOWN else "")


def _run_problems(
    config: ControlledConfig, sources: Mapping[str | int, RunConfig], files: _Files
) -> Iterator[Problem]:
    """Yield the problems of checkpoints; ``sources`` are runs that have yet to write them."""
    pool = files.pool(config)
    model: nn.Module | None = None
    if isinstance(pool, ModelError):
        yield Problem(str(pool))
    elif isinstance(pool, UserError):
        key = "dataset" if config.data_path is None else "data_path"
        yield Problem(str(pool), key, getattr(config, key))
    else:
        yield from _data_problems(config, pool)
        built = files.model(config, pool)
        if isinstance(built, UserError):
            yield Problem(str(built))
        else:
            model = built
            yield from _batch_problems(config, pool, model)
    for key in ("load_model_from_checkpoint", "trainer_checkpoint"):
        path = getattr(config, key)
        if not path:
            continue
        if key in sources:
            wrong = _misfit_of_stage(sources[key], model, files)
        else:
            wrong = _checkpoint_problem(config, key, files.state(path), model)
        if wrong:
            yield Problem(wrong, key, path)


def _misfit_of_stage(source: RunConfig, model: nn.Module | None, files: _Files) -> str | None:
    """Return why weights of a future run do not fit; None if they do or if it is unknown."""
    if model is None or not isinstance(source, ControlledConfig):
        return None
    pool = files.pool(source)
    if isinstance(pool, UserError):
        return None  # which is told of that run
    made = files.model(source, pool)
    return None if isinstance(made, UserError) else checkpoint.misfit(model, made.state_dict())


def _checkpoint_problem(
    config: ControlledConfig,
    key: str,
    state: dict[str, Any] | UserError,
    model: nn.Module | None,
) -> str | None:
    """Return why a checkpoint does not fit a run; without a ``model``, shapes are not compared."""
    if isinstance(state, UserError):
        return str(state)
    if key == "trainer_checkpoint":
        optimizer = make_optimizer(config, [torch.zeros(1)])
        problem = training_state.why_not_to_go_on(state, config.epochs, optimizer)
        if problem:
            return problem
    return None if model is None else checkpoint.misfit(model, checkpoint.weights(state))


def _data_problems(config: ControlledConfig, pool: Pool) -> Iterator[Problem]:
    """Yield the problems of subsets, label sets, changes and scores that the data do not allow."""
    sizes = {"num_train_samples": pool.train_labels}
    sizes |= {} if pool.test_is_whole else {"num_test_samples": pool.test_labels}
    for key, labels in sizes.items():
        why_not = undrawable_from(labels, getattr(config, key))
        if why_not:
            yield Problem(why_not, key, getattr(config, key))
    yield from _label_problems(config, pool)
    score, share = config.score_metric_name or "", config.frac_samples_to_modify_labels
    num_train = drawn_size(config.num_train_samples, len(pool.train_labels))
    declared = pool.changed_train is not None and bool(pool.changed_train.any())
    if score.endswith(PARTS) and not declared and int(num_train * share) == 0:
        yield Problem(
            "no training input has a changed label, so this is never measured; set "
            f"'frac_samples_to_modify_labels' above {1 / num_train:.2g}, for example "
            f"{max(0.1, 2 / num_train):.2g} (now {share:g}), or choose another metric",
            "score_metric_name",
            score,
        )


def _batch_problems(config: ControlledConfig, pool: Pool, model: nn.Module) -> Iterator[Problem]:
    """Yield the problem of a last batch of one input, if the model normalises over the batch."""
    num_train = drawn_size(config.num_train_samples, len(pool.train_labels))
    in_last_batch = (num_train - 1) % config.batch_size + 1
    if in_last_batch > 1 or not couples_inputs(model) or _takes_one(model, pool.input_shape):
        return
    yield Problem(
        f"leaves a batch of one of {num_train} inputs, whose channels '{config.model_type}' cannot "
        f"normalise at this size; take another",
        "batch_size",
        config.batch_size,
    )


def _takes_one(model: nn.Module, input_shape: tuple[int, ...]) -> bool:
    """Return whether a model on the meta device can be trained on a single input."""
    try:
        model(torch.empty(1, *input_shape, device="meta"))
    except ValueError:  # BatchNorm, where a channel has a single number
        return False
    return True


def _label_problems(config: ControlledConfig, pool: Pool) -> Iterator[Problem]:
    """Yield the problems of label sets and subsets that the classes of the data do not allow."""
    k, share = config.num_labels_per_sample, config.frac_samples_to_modify_labels
    if k > pool.num_classes:
        yield Problem(f"the data has {pool.num_classes} classes", "num_labels_per_sample", k)
    elif k == pool.num_classes and share > 0:
        yield Problem("leaves no class to change a label to; lower it", "num_labels_per_sample", k)
    if pool.changed_train is not None and share > 0:
        yield Problem(
            "the file's changed_train says which labels are changed; set it to 0",
            "frac_samples_to_modify_labels",
            share,
        )
