"""A Ray cluster of this machine for tests: nodes with pretended GPUs, which come and go."""

from __future__ import annotations

import os
from typing import Any
from unittest import mock

import pytest

from tests.tools import needs_package

needs_ray = [
    pytest.mark.ray,
    pytest.mark.slow,
    needs_package("ray"),
]
_STORE = 80 * 2**20
"""Bytes of each node's object store, which runs do not use."""


class PretendedCluster:
    """A cluster of two nodes: one with a GPU, one with two; and more if they are added.

    `ray.cluster_utils` is an interface for Ray's developers, and may change.
    """

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        hidden = {name: value for name, value in os.environ.items()
                  if name != "CUDA_VISIBLE_DEVICES"}  # fmt: skip
        self._environment = {**hidden, "RAY_USAGE_STATS_ENABLED": "0"}
        with mock.patch.dict(os.environ, self._environment, clear=True):
            self._cluster = Cluster(
                initialize_head=True,
                head_node_args={
                    "num_cpus": 0,
                    "include_dashboard": False,
                    "object_store_memory": _STORE,
                },
            )
        self.add(num_cpus=2, num_gpus=1, resources={"single": 1})
        self.add(num_cpus=2, num_gpus=2, resources={"double": 1})

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def add(self, **resources: Any) -> Any:
        """Adds a node; returns what `lose` takes."""
        with mock.patch.dict(os.environ, self._environment, clear=True):
            node = self._cluster.add_node(object_store_memory=_STORE, **resources)
            self._cluster.wait_for_nodes()
        return node

    def lose(self, node: Any) -> None:
        """Ends a node at once, as a power cut does."""
        self._cluster.remove_node(node, allow_graceful=False)

    def lose_head(self) -> None:
        """Ends the node that knows of all others."""
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)

    def close(self) -> None:
        self._cluster.shutdown()
