"""Random generators: seeding, their states as plain data, and separate streams."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from common.training.determinism import seed_torch


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)
    seed_torch(seed)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Start the global generators of Python, NumPy and torch's CPU from ``seed`` inside the block.

    Their states are restored afterwards. With None, neither is done.
    """
    if seed is None:
        yield
        return
    with undisturbed():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        yield


class RngStream:
    """Random stream of one of several fits in this process.

    It consists of torch's generators alone, because fits use no others.
    """

    def __init__(self, gpu_ids: Sequence[int] = ()) -> None:
        """Start from the present states of the generators; the fit uses the GPUs ``gpu_ids``."""
        self._gpu_ids = gpu_ids
        self._state = random_state(gpu_ids)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Continue, inside the block, torch's generators from the end of the last block."""
        _restore_torch(self._state, self._gpu_ids)
        try:
            yield
        finally:
            self._state |= _torch_state(self._gpu_ids)

    def state(self) -> dict[str, Any]:
        """Return what `random_state` would return if the fit were alone."""
        return self._state


@contextmanager
def undisturbed(gpu_ids: Sequence[int] = ()) -> Iterator[None]:
    """Keep random draws of other code inside the block from changing those of training.

    ``gpu_ids`` are the GPUs of the training; generators of others are ignored.
    """
    state = random_state(gpu_ids)
    try:
        yield
    finally:
        restore_random_state(state, gpu_ids)


def random_state(gpu_ids: Sequence[int] = ()) -> dict[str, Any]:
    """Return the states of all global generators, as tensors, numbers and lists.

    ``gpu_ids`` are the GPUs of the run, as torch counts them in this process. Other GPUs are not
    touched: a run on the CPU does not even open them.
    """
    numpy_state = np.random.get_state(legacy=False)
    keys = numpy_state["state"]["key"].astype(np.int64)
    return {
        "python": random.getstate(),
        "numpy": {**numpy_state, "state": {**numpy_state["state"], "key": torch.from_numpy(keys)}},
        **_torch_state(gpu_ids),
    }


def _torch_state(gpu_ids: Sequence[int]) -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "cuda": [torch.cuda.get_rng_state(gpu) for gpu in gpu_ids],
    }


def restore_random_state(state: dict[str, Any], gpu_ids: Sequence[int] = ()) -> None:
    """Restore all global generators to a result of `random_state`.

    The run's first GPU gets the state of the run's earlier first GPU, whatever their numbers, and
    so on. A further GPU, for example if the run was on the CPU before, keeps the stream of its
    seed: its draws are as random, but differ from those of an uninterrupted run. The same holds for
    a run that is resumed with fewer GPUs, or on the CPU.
    """
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    numpy_state = state["numpy"]
    numpy_keys = numpy_state["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy_state, "state": {**numpy_state["state"], "key": numpy_keys}})
    _restore_torch(state, gpu_ids)


def _restore_torch(state: dict[str, Any], gpu_ids: Sequence[int]) -> None:
    torch.set_rng_state(state["torch"])
    for gpu, own in zip(gpu_ids, state["cuda"], strict=False):
        torch.cuda.set_rng_state(own, gpu)
