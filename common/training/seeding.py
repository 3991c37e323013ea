"""Random generators: seeding, their states as plain data, and streams set apart."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds the global generators of Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Inside the block the global generators of Python, NumPy and torch's CPU start from ``seed``.

    Their states are restored afterwards. None leaves both alone: the block draws from them.
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
    """The global generators as one of several fits in this process knows them.

    Only torch's generators move: fits draw from no others.
    """

    def __init__(self, gpu_ids: Sequence[int] = ()) -> None:
        """Begins where the generators stand; the fit computes with the GPUs ``gpu_ids``."""
        self._gpu_ids = gpu_ids
        self._state = random_state(gpu_ids)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside the block torch's generators go on from where the last block left them."""
        _restore_torch(self._state, self._gpu_ids)
        try:
            yield
        finally:
            self._state |= _torch_state(self._gpu_ids)

    def state(self) -> dict[str, Any]:
        """What `random_state` would give if the fit were alone."""
        return self._state


@contextmanager
def undisturbed(gpu_ids: Sequence[int] = ()) -> Iterator[None]:
    """Around code that is none of training's: whatever it draws, training draws too.

    ``gpu_ids`` are the GPUs that training computes with; what others draw is no concern of its.
    """
    state = random_state(gpu_ids)
    try:
        yield
    finally:
        restore_random_state(state, gpu_ids)


def random_state(gpu_ids: Sequence[int] = ()) -> dict[str, Any]:
    """The states of all global generators, as tensors, numbers and lists.

    ``gpu_ids`` are the GPUs that the run computes with, as torch counts them in this process.
    Others are left alone: a run on the CPU does not so much as wake them.
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
    """Puts all global generators where `random_state` found them.

    The run's first GPU takes the state of the first one that the run had then, whatever number
    either has, and so on. A GPU beyond those, as where the run was on the CPU before, keeps the
    stream of its seed: what is drawn there is as random, but not what it would have been. The same
    holds of a run that goes on with fewer GPUs, or on the CPU.
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
