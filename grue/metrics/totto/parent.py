"""ToTTo's PARENT of all outputs and of two subsets: table headers seen in training, and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from grue.metrics.metric import METRICS, Metric, NoArgs, Scores
from grue.metrics.parent import Parent, parent
from grue.metrics.totto import tables as totto
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.policies.policy import Policy


@METRICS.register("parent_totto")
class ParentTotto(Metric[NoArgs]):
    """Precision, recall and F score, from 0 to 1; 0 for an empty subset."""

    names = ("table_to_text/parent_*",)
    needs_references = True

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] the three numbers of each output."""
        texts.check_references("parent_totto")
        parents = _parents(texts, totto.rows(texts, "parent_totto"))
        return _by_key("overall", np.array(parents, np.float64).reshape(-1, 3))

    def corpus(
        self, texts: Texts, policy: Policy | None = None, split: str = "val"
    ) -> Mapping[str, float]:
        """Return the means over all outputs, and over each subset."""
        values = np.stack(list(self.scores(texts).values()), axis=1)
        found: dict[str, float] = {}
        for name, members in totto.subsets(totto.rows(texts, "parent_totto")).items():
            mean = values[members].mean(axis=0) if members.any() else np.zeros(3)
            found |= {key: float(value) for key, value in _by_key(name, mean).items()}
        return found


def _by_key(subset: str, values: Scores) -> dict[str, Scores]:
    """Return ``values`` [..., 3] by the names of precision, recall and F score."""
    name = f"table_to_text/parent_{subset}"
    keys = f"{name}/precision", f"{name}/recall", f"{name}_f_score"
    return {key: values[..., column] for column, key in enumerate(keys)}


def _parents(texts: Texts, rows: Sequence[Mapping[str, Any]]) -> list[Parent]:
    """PARENT of each output; each input's table is read once."""
    tables: dict[int, tuple[frozenset[str], list[list[str]]]] = {}
    found = []
    for output, references, row in zip(texts.outputs, texts.references, rows, strict=True):
        if id(row) not in tables:
            vocabulary = frozenset(word for entry in totto.whole_table(row) for word in entry)
            tables[id(row)] = vocabulary, list(totto.highlighted(row))
        own = totto.tokens(totto.prepared(output))
        wanted = [totto.tokens(text) for text in totto.prepared_references(references)]
        found.append(parent(own, wanted, *tables[id(row)]))
    return found
