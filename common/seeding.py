"""Random generators: seeding, their states as plain data, and streams set apart."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def draw_seed() -> int:
    """A fresh seed from the system's entropy."""
    return secrets.randbelow(2**31)


def seed_everything(seed: int) -> None:
    """Seeds the global generators of Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Inside the block the global NumPy and torch CPU generators start from ``seed``.

    Their states are restored afterwards. None leaves both alone: the block draws from them.
    """
    if seed is None:
        yield
        return
    numpy_state, torch_state = np.random.get_state(), torch.get_rng_state()
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)


class Stream:
    """The global generators as one of several fits in this process knows them.

    Only torch's generators move: fits draw from no others.
    """

    def __init__(self) -> None:
        """Begins where the generators stand."""
        self._state = random_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Inside the block torch's generators go on from where the last block left them."""
        _restore_torch(self._state)
        try:
            yield
        finally:
            self._state |= _torch_state()

    def state(self) -> dict[str, Any]:
        """What `random_state` would give if the fit were alone."""
        return self._state


def random_state() -> dict[str, Any]:
    """The states of all global generators, as tensors, numbers and lists."""
    numpy_state = np.random.get_state(legacy=False)
    keys = numpy_state["state"]["key"].astype(np.int64)
    return {
        "python": random.getstate(),
        "numpy": {**numpy_state, "state": {**numpy_state["state"], "key": torch.from_numpy(keys)}},
        **_torch_state(),
    }


def _torch_state() -> dict[str, Any]:
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if _uses_gpus() else [],
    }


def _uses_gpus() -> bool:
    """A run on the CPU of a machine with GPUs does not so much as wake them."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def restore_random_state(state: dict[str, Any]) -> None:
    """Puts all global generators where `random_state` found them."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    numpy_state = state["numpy"]
    numpy_keys = numpy_state["state"]["key"].numpy().astype(np.uint32)
    np.random.set_state({**numpy_state, "state": {**numpy_state["state"], "key": numpy_keys}})
    _restore_torch(state)


def _restore_torch(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
