"""Stand-ins for the random generators of GPUs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor


def _refused(*_: object) -> None:
    raise AssertionError("the states of GPUs that may be others' were asked for")


class GpuGenerators:
    """Generators of as many GPUs, on the CPU; torch's calls for their states lead here."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.generators = [torch.Generator().manual_seed(100 + gpu) for gpu in range(count)]
        self.asked: set[int] = set()
        """The GPUs whose state was read or set."""
        monkeypatch.setattr(torch.cuda, "get_rng_state", self._get)
        monkeypatch.setattr(torch.cuda, "set_rng_state", self._set)
        for name in ("get_rng_state_all", "set_rng_state_all"):
            monkeypatch.setattr(torch.cuda, name, _refused)

    def draw(self, gpu: int) -> float:
        """The next number of a GPU's stream."""
        return torch.rand(1, generator=self.generators[gpu]).item()

    def _get(self, gpu: int) -> Tensor:
        self.asked.add(gpu)
        return self.generators[gpu].get_state()

    def _set(self, state: Tensor, gpu: int) -> None:
        self.asked.add(gpu)
        self.generators[gpu].set_state(state)
