"""Gradients of embeddings that are added by rows."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import Tensor, nn

from grue.models.embedding_gradients import summed_by_rows, trained_embeddings


class Model(nn.Module):
    """Embeddings with an output layer, which is tied or of its own."""

    def __init__(self, *, tied: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(9, 4)
        self.places = nn.Embedding(3, 4)
        self.head = nn.Linear(4, 9, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def loss(self, ids: Tensor) -> Tensor:
        states = self.table(ids) + self.places(torch.arange(len(ids)))
        loss: Tensor = self.head(states.tanh()).logsumexp(-1).sum()
        return loss


@pytest.mark.parametrize("tied", [True, False])
def test_gradients_are_dense_and_the_same(tied: bool) -> None:
    found = []
    for by_rows in (False, True):
        model = Model(tied=tied)
        tables = trained_embeddings([model])
        assert tables == [model.table]
        for ids in ([1, 1, 5], [8, 1]):  # as in two micro-batches
            with summed_by_rows(tables) if by_rows else contextlib.nullcontext():
                model.loss(torch.tensor(ids)).backward()
                assert model.table.sparse == by_rows
        assert not model.table.sparse
        found.append([weight.grad for weight in model.parameters()])
        assert not any(grad.is_sparse for grad in found[-1])
    torch.testing.assert_close(*found)


def test_frozen_embeddings_are_left_alone() -> None:
    model = Model(tied=False)
    model.table.requires_grad_(False)
    assert trained_embeddings([model]) == []
