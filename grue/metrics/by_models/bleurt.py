"""BLEURT: a model's rating of an output given its reference."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from common.config.base import INPUT_FILE_OR_ID
from common.config.hub_revision import FromHub
from common.errors import UserError
from grue.metrics.best_reference import best_over_references
from grue.metrics.metric import METRICS, Metric, Scores
from grue.scorers.options import ScorerArgs
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.scorers.classifier import Classifier

_CONVERTED = "Elron/{}"
"""Pattern of the hub ids of the published checkpoints in transformers' format."""
_PUBLISHED = tuple(f"bleurt-{name}" for name in ("tiny-128", "tiny-512", "base-128", "base-512",
                                                 "large-128", "large-512"))  # fmt: skip


class BleurtArgs(FromHub, ScorerArgs):
    """Keys of BLEURT."""

    hub_id_key = "config_name"

    config_name: Annotated[str, INPUT_FILE_OR_ID] = "bleurt-base-128"
    """Name of a published checkpoint (``bleurt-tiny-128``, ``bleurt-tiny-512``, and the same with
    ``base`` and ``large``), which is loaded from the hub in transformers' format; or a hub id or
    folder of a BERT with one output, in Hugging Face layout. The checkpoints called BLEURT-20 need
    an architecture that transformers lacks."""


@METRICS.register("bleurt")
class Bleurt(Metric[BleurtArgs]):
    """Rating of the output given the reference, best over the references; around 0 to 1.

    Sellam et al. 2020 (arXiv 2004.04696). An empty output is rated like any other one.
    """

    names = ("semantic/bleurt",)
    Args = BleurtArgs
    needs_references = True

    def prepare(self) -> None:
        """Check the checkpoint's name, or its local folder."""
        from grue.scorers.loading import check_folder, num_labels

        config = check_folder(self._name(), "config_name")
        if config:
            self._check(num_labels(config))

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] ratings."""
        texts.check_references("bleurt")
        return {"semantic/bleurt": best_over_references(texts, self._ratings)}

    def _ratings(self, outputs: list[str], references: list[str]) -> Scores:
        """Return [M] ratings of pairs; the model reads the reference first."""
        return self._classifier.logits_of_pairs(references, outputs)[:, 0]

    def _name(self) -> str:
        name = self.args.config_name
        if name.upper().startswith("BLEURT-20"):
            raise UserError(
                f"'config_name' = '{name}': transformers lacks the architecture of BLEURT-20; "
                f"take one of {', '.join(_PUBLISHED)}, or a folder"
            )
        return _CONVERTED.format(name) if name in _PUBLISHED else name

    @functools.cached_property
    def _classifier(self) -> Classifier:
        from grue.scorers.classifier import load_classifier

        found = load_classifier(self._name(), "config_name", self.args, revision=self.args.revision)
        self._check(found.num_labels)
        return found

    def _check(self, num_labels: int) -> None:
        if num_labels != 1:
            raise UserError(
                f"'config_name' = '{self.args.config_name}': is no BLEURT: it has {num_labels} "
                "outputs, not one"
            )
