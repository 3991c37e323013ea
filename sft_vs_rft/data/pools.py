"""Pools of inputs, from which runs draw their subsets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import UserError
from sft_vs_rft.data.inputs import DenseInputs, Inputs

Take = Callable[[Tensor, torch.device], Inputs]
"""Function that returns the inputs at indices [n], ready for a model, on a device."""


@dataclass(frozen=True)
class Pool:
    """All inputs of a data set: N training, M test inputs."""

    take_train: Take
    train_labels: Tensor  # [N] int64
    take_test: Take
    test_labels: Tensor  # [M] int64
    num_classes: int
    input_shape: tuple[int, ...]
    """Shape of one input; empty for texts."""
    changed_train: Tensor | None = None  # [N] bool
    """[N] mask of the training labels that the data set itself declares as changed."""
    test_is_whole: bool = False
    """If true, all test inputs are used, as published for STS-B."""


def dense_pool(
    train_inputs: Tensor,
    train_labels: Tensor,
    test_inputs: Tensor,
    test_labels: Tensor,
    *,
    num_classes: int,
    normalise: Callable[[Tensor], Tensor],
    changed_train: Tensor | None = None,
) -> Pool:
    """Return a pool of inputs of one shape.

    Args:
        train_inputs: [N, ...], not yet normalised, so that only drawn inputs become float32.
        train_labels: [N] int64.
        test_inputs: [M, ...].
        test_labels: [M] int64.
        num_classes: number of classes, C.
        normalise: function from [n, ...] as stored to [n, ...] float32 inputs of models.
        changed_train: [N] bool, for data sets that declare changed labels.

    Raises:
        UserError: inputs and labels do not fit together.
    """
    _check_labels("training", train_inputs, train_labels, num_classes)
    _check_labels("test", test_inputs, test_labels, num_classes)
    shapes = [list(inputs.shape[1:]) for inputs in (train_inputs, test_inputs)]
    if shapes[0] != shapes[1]:
        raise UserError(f"training inputs have the shape {shapes[0]}, test inputs {shapes[1]}")

    def taking(inputs: Tensor) -> Take:
        return lambda index, device: DenseInputs(normalise(inputs[index]).to(device))

    return Pool(
        taking(train_inputs),
        train_labels,
        taking(test_inputs),
        test_labels,
        num_classes,
        input_shape=tuple(normalise(train_inputs[:1]).shape[1:]),
        changed_train=changed_train,
    )


def _check_labels(part: str, inputs: Tensor, labels: Tensor, num_classes: int) -> None:
    if len(inputs) != len(labels):
        raise UserError(f"{len(inputs)} {part} inputs, but {len(labels)} labels")
    if not len(labels):
        raise UserError(f"there are no {part} inputs")
    wrong = labels[(labels < 0) | (labels >= num_classes)]
    if len(wrong):
        raise UserError(
            f"a {part} label is {wrong[0]}, but labels are whole numbers from 0 to "
            f"{num_classes - 1}"
        )
