"""What can be known of the runs' files before the first of them starts."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from common import checkpoint
from common.errors import Problem, UserError
from common.plan import Run
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.experiment import build_model
from sft_vs_rft.pools import Pool, load_pool


def check(runs: Sequence[Run]) -> list[Problem]:
    """Everything wrong with the data and checkpoints that ``runs`` name; each is read once.

    A checkpoint that an earlier stage of the plan makes is checked when it is there.
    """
    pool_of = functools.cache(_try_pool)
    weights_of = functools.cache(_try_weights)
    problems: list[Problem] = []
    for run in runs:
        config = run.config
        assert isinstance(config, ControlledConfig)
        key = "data_path" if config.dataset == "npz" else "dataset"
        pool = pool_of(config.dataset, config.data_dir, config.data_path)
        if isinstance(pool, UserError):
            found = [Problem(str(pool), key, getattr(config, key))]
        else:
            found = list(_label_problems(config, pool))
            referenced = {reference.key[0] for reference in run.references}
            if config.load_model_from_checkpoint and "load_model_from_checkpoint" not in referenced:
                weights = weights_of(config.load_model_from_checkpoint)
                found += _checkpoint_problems(config, pool, weights)
        if config.trainer_checkpoint:
            state = weights_of(config.trainer_checkpoint)
            if isinstance(state, UserError):
                found.append(Problem(str(state), "trainer_checkpoint", config.trainer_checkpoint))
        problems += [problem.at(run.where) for problem in found]
    return problems


def _try_pool(dataset: str, data_dir: str, data_path: str | None) -> Pool | UserError:
    try:
        return load_pool(dataset, data_dir, data_path)
    except UserError as error:
        return error


def _try_weights(path: str) -> dict[str, Tensor] | UserError:
    try:
        return checkpoint.weights(checkpoint.load(Path(path)))
    except UserError as error:
        return error


def _checkpoint_problems(
    config: ControlledConfig, pool: Pool, weights: dict[str, Tensor] | UserError
) -> Iterator[Problem]:
    key, path = "load_model_from_checkpoint", config.load_model_from_checkpoint
    if isinstance(weights, UserError):
        yield Problem(str(weights), key, path)
        return
    with torch.device("meta"):
        model = build_model(config, pool.input_shape, pool.num_classes)
    wrong = checkpoint.misfits(model, weights)
    if wrong:
        yield Problem("does not fit the model: " + "; ".join(wrong), key, path)


def _label_problems(config: ControlledConfig, pool: Pool) -> Iterator[Problem]:
    """Label sets and subsets that the classes of the data do not admit."""
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
