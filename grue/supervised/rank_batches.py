"""Batches of the transformers Trainer: what their losses are means over, and how ranks share them.

A loss is a mean over all items, tokens or examples, of an update, in however many batches they
come: a library's model may give the mean over a batch, and then the mean of such means would weigh
short batches more, and their sum would grow with their number.

Every rank draws the same batches, as one process does, and computes its part of each; the parts of
gradients add up. So results do not depend on the number of ranks: not in a last, smaller batch, and
not where outputs differ in length.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from common import distributed
from grue.supervised.rows import IGNORED

OWN, WHOLE = "own_items", "whole_items"
"""Keys of a batch: what its loss is a mean over, on this rank and on all of them."""

Batch = dict[str, Any]


def count_items(batch: Batch, *, shifted: bool) -> int:
    """How many tokens, or examples, the mean loss of a batch is over.

    ``shifted`` are token labels of a causal model, of which nothing predicts the first.
    """
    if "labels" not in batch:
        return len(batch["targets"])
    labels: Tensor = batch["labels"]
    counted = labels[:, 1:] if shifted and labels.dim() == 2 else labels
    return int((counted != IGNORED).sum())


@dataclass(frozen=True)
class OwnPart:
    """A collator that makes this rank's part of a batch of rows, and counts what it learns.

    Where nothing of it counts, another row stands there with the weight 0: all ranks do alike.
    """

    collate: Callable[[Any], Batch]
    shifted: bool

    def __call__(self, rows: Sequence[Any]) -> Batch:
        """Return the part, as `collate` makes it, with the numbers of items."""
        batch = self.collate(rows)
        own = whole = count_items(batch, shifted=self.shifted)
        if distributed.world_size() > 1:
            mine = list(rows[distributed.shard_slice(len(rows))])
            own = self._items(mine) if mine else 0
            if own == 0:
                mine = [next((row for row in rows if self._items([row])), rows[0])]
            batch = self.collate(mine)
        return {**batch, OWN: own, WHOLE: whole}

    def _items(self, rows: Sequence[Any]) -> int:
        return count_items(self.collate(rows), shifted=self.shifted)


def items_of(batches: Sequence[Batch]) -> int:
    """Return the items of several batches, on all ranks."""
    return sum(batch[WHOLE] for batch in batches)
