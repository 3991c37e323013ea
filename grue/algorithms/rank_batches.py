"""Batches of the transformers Trainer that ranks share.

Every rank draws the same batches, as one process does, and computes its part of each; the parts of
gradients add up. So results do not depend on the number of ranks: not in a last, smaller batch, and
not where outputs differ in length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from common import ranks
from grue.training_rows import IGNORED

OWN, WHOLE = "own_items", "whole_items"
"""Keys of a batch: what its loss is a mean over, on this rank and on all of them."""

Batch = dict[str, Any]


def count_items(batch: Batch, *, shifted: bool) -> int:
    """How many tokens, or examples without labels, the mean loss of a batch is over.

    ``shifted`` are labels of a causal model, of which nothing predicts the first.
    """
    if "labels" not in batch:
        return len(batch["targets"])
    labels: Tensor = batch["labels"][:, 1:] if shifted else batch["labels"]
    return int((labels != IGNORED).sum())


@dataclass(frozen=True)
class OwnPart:
    """A collator that makes this rank's part of a batch of rows.

    Where nothing of it counts, another row stands there with the weight 0: all ranks do alike.
    """

    collate: Callable[[Any], Batch]
    shifted: bool

    def __call__(self, rows: Sequence[Any]) -> Batch:
        """The part, as `collate` makes it, with the numbers of items."""
        whole = self._items(rows)
        mine = list(rows[ranks.share(len(rows))])
        own = self._items(mine) if mine else 0
        if own == 0:
            mine = [next((row for row in rows if self._items([row])), rows[0])]
        return {**self.collate(mine), OWN: own, WHOLE: whole}

    def _items(self, rows: Sequence[Any]) -> int:
        return count_items(self.collate(rows), shifted=self.shifted)


def part_of_loss(mean: Tensor, own: int, whole: int, num_items: Tensor | int | None) -> Tensor:
    """The part of a batch's loss that is this rank's.

    Args:
        mean: over the rank's own items.
        own: their number.
        whole: the number of the batch's items.
        num_items: of all batches of an update, where losses are divided by that; otherwise None.
    """
    return mean * (own / (whole if num_items is None else num_items))


def num_items_of(batches: Sequence[Batch], device: torch.device) -> Tensor:
    """[] the items of several batches, on all ranks."""
    return torch.tensor(sum(batch[WHOLE] for batch in batches), device=device)
