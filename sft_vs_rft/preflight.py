"""What can be known of the runs' files before the first of them starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common import checkpoint
from common.errors import Problem, UserError
from common.plan import Run
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.models import build_model
from sft_vs_rft.pools import Pool, load_pool


def check(runs: Sequence[Run]) -> list[Problem]:
    """Everything wrong with the data, models and checkpoints that ``runs`` name.

    Each file is read once. A checkpoint that an earlier stage of the plan makes is checked when it
    is there.
    """
    files = _Files()
    problems: list[Problem] = []
    for run in runs:
        referenced = {reference.key[0] for reference in run.references}
        assert isinstance(run.config, ControlledConfig)
        found = list(_run_problems(run.config, referenced, files))
        problems += [problem.at(run.where) for problem in found]
    return problems


class _Files:
    """What the runs' files hold; a file that cannot be used stands as the error it raised."""

    def __init__(self) -> None:
        self._pools: dict[Any, Pool | UserError] = {}
        self._models: dict[Any, nn.Module | UserError] = {}
        self._weights: dict[str, dict[str, Tensor] | UserError] = {}

    def pool(self, config: ControlledConfig) -> Pool | UserError:
        """The data."""
        key = config.data_source
        if key not in self._pools:
            try:
                self._pools[key] = load_pool(config)
            except UserError as error:
                self._pools[key] = error
        return self._pools[key]

    def model(self, config: ControlledConfig, pool: Pool) -> nn.Module | UserError:
        """The model without numbers in its weights."""
        key = config.model_type, config.mlp_hidden_layer_sizes, config.data_source
        if key not in self._models:
            try:
                with torch.device("meta"):
                    model = build_model(config, pool.input_shape, pool.num_classes)
                self._models[key] = model
            except UserError as error:
                self._models[key] = error
        return self._models[key]

    def weights(self, path: str) -> dict[str, Tensor] | UserError:
        """The weights in a checkpoint."""
        if path not in self._weights:
            try:
                self._weights[path] = checkpoint.weights(checkpoint.load(Path(path)))
            except UserError as error:
                self._weights[path] = error
        return self._weights[path]


def _run_problems(
    config: ControlledConfig, referenced: set[str | int], files: _Files
) -> Iterator[Problem]:
    if config.trainer_checkpoint and "trainer_checkpoint" not in referenced:
        state = files.weights(config.trainer_checkpoint)
        if isinstance(state, UserError):
            yield Problem(str(state), "trainer_checkpoint", config.trainer_checkpoint)
    pool = files.pool(config)
    if isinstance(pool, UserError):
        key = "dataset" if config.data_path is None else "data_path"
        yield Problem(str(pool), key, getattr(config, key))
        return
    yield from _label_problems(config, pool)
    model = files.model(config, pool)
    if isinstance(model, UserError):
        yield Problem(str(model))
    elif config.load_model_from_checkpoint and "load_model_from_checkpoint" not in referenced:
        key, path = "load_model_from_checkpoint", config.load_model_from_checkpoint
        weights = files.weights(path)
        if isinstance(weights, UserError):
            yield Problem(str(weights), key, path)
        elif wrong := checkpoint.misfits(model, weights):
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
