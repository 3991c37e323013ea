"""Data of one run: subsets, label sets and label changes, as tensors on the run's device."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common.errors import UserError
from common.training.seeding import seeded
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data.inputs import Inputs
from sft_vs_rft.data.labels import draw_changed, draw_label_sets, draw_labels_outside
from sft_vs_rft.data.load_pool import load_pool
from sft_vs_rft.data.pools import Pool
from sft_vs_rft.data.stratified import stratified_subset
from sft_vs_rft.subsets import drawn_size, undrawable

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Data:
    """Training and test inputs with their labels: N training, M test inputs, C classes."""

    train_inputs: Inputs  # N
    train_labels: Tensor  # [N] int64, after the changes
    test_inputs: Inputs  # M
    test_labels: Tensor  # [M] int64
    label_sets: Tensor  # [C, k] int64
    changed: Tensor  # [N] bool, on the CPU: batches are laid out there
    num_classes: int
    input_shape: tuple[int, ...]
    """Shape of one input; empty for texts."""
    record: dict[str, Any]
    """Record of the draws, as plain values: indices, label sets, changed positions."""


def make_data(config: ControlledConfig, device: torch.device) -> Data:
    """Draw the run's data in the published order.

    Raises:
        UserError: the data cannot be loaded, or are too few for the subset.
    """
    pool = load_pool(config)
    with seeded(config.samples_rnd_seed):
        train_indices = _subset(pool.train_labels, config.num_train_samples, "num_train_samples")
        test_size = 0 if pool.test_is_whole else config.num_test_samples
        test_indices = _subset(pool.test_labels, test_size, "num_test_samples")
        label_sets = draw_label_sets(pool.num_classes, config.num_labels_per_sample)
        labels = pool.train_labels[train_indices]
        positions = draw_changed(len(labels), config.frac_samples_to_modify_labels)
        if len(positions):
            new = draw_labels_outside(labels[positions], label_sets)
            labels = labels.index_copy(0, positions, new)
    changed = _changed_mask(pool, train_indices, positions)
    return Data(
        train_inputs=pool.take_train(train_indices, device),
        train_labels=labels.to(device),
        test_inputs=pool.take_test(test_indices, device),
        test_labels=pool.test_labels[test_indices].to(device),
        label_sets=label_sets.to(device),
        changed=changed,
        num_classes=pool.num_classes,
        input_shape=pool.input_shape,
        record={
            "train_indices": train_indices.tolist(),
            "test_indices": test_indices.tolist(),
            "label_sets": label_sets.tolist(),
            "changed_positions": (
                positions if len(positions) else changed.nonzero()[:, 0]
            ).tolist(),
            "train_labels": labels.tolist(),
        },
    )


def _changed_mask(pool: Pool, train_indices: Tensor, positions: Tensor) -> Tensor:
    if pool.changed_train is not None:
        return pool.changed_train[train_indices]
    return torch.zeros(len(train_indices), dtype=torch.bool).index_fill(0, positions, True)


def _subset(labels: Tensor, size: int, key: str) -> Tensor:
    """Return the indices of a stratified random subset.

    All of them, in order, if it is not smaller.
    """
    if size > len(labels):
        is_default = size == ControlledConfig.model_fields[key].default  # nobody asked for it
        log.log(logging.INFO if is_default else logging.WARNING,
                "'%s' = %d: there are only %d; all are used", key, size, len(labels))  # fmt: skip
    if drawn_size(size, len(labels)) == len(labels):
        return torch.arange(len(labels))
    why_not = undrawable_from(labels, size)
    if why_not:
        raise UserError(f"'{key}' = {size}: {why_not}")
    return torch.from_numpy(stratified_subset(labels.numpy(), size))


def undrawable_from(labels: Tensor, size: int) -> str | None:
    """Return why no stratified subset of ``size`` can be drawn from ``labels`` [N].

    None if it can.
    """
    classes = labels.bincount()
    present = classes[classes > 0]
    return undrawable(size, len(labels), len(present), int(present.min()))
