"""Batches of the transformers Trainer shared among ranks, and the weights of their mean losses.

A loss is a mean over all items (tokens or examples) of an update, however many batches these are
in. A library's model may return the mean over a batch. The mean of such means would weigh short
batches more, and their sum would grow with their number.

Every rank draws the same batches as a single process does, and computes its part of each; the
gradients of the parts are summed. Results therefore do not depend on the number of ranks, also for
a last, smaller batch and for outputs of different lengths.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from common import distributed
from grue.supervised.rows import IGNORED

OWN, WHOLE = "own_items", "whole_items"
"""Keys of a batch: numbers of items of its loss, on this rank and on all of them."""

Batch = dict[str, Any]


def count_items(batch: Batch, *, shifted: bool) -> int:
    """Return the number of tokens, or examples, in the mean loss of a batch.

    ``shifted`` marks token labels of a causal model, whose first one has no prediction.
    """
    if "labels" not in batch:
        return len(batch["targets"])
    labels: Tensor = batch["labels"]
    counted = labels[:, 1:] if shifted and labels.dim() == 2 else labels
    return int((counted != IGNORED).sum())


@dataclass(frozen=True)
class OwnPart:
    """Collator of this rank's part of a batch of rows, which counts the items of the loss.

    A part without items is replaced by another row with weight 0, so that all ranks make the same
    calls.
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
    """Return the number of items of several batches, on all ranks."""
    return sum(batch[WHOLE] for batch in batches)
