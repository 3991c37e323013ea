"""BERTScore: greedy matching of output and reference tokens in a model's embedding space."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from common.config.base import INPUT_FILE_OR_ID, OptionalText
from common.config.hub_revision import FromHub
from common.errors import Problem, UserError
from common.machine.hub_offline import note_model
from common.packages import lacking
from grue.metrics.best_reference import best_over_references
from grue.metrics.metric import METRICS, Metric, Scores
from grue.scorers.options import ScorerArgs
from grue.texts import Texts

if TYPE_CHECKING:
    from bert_score import BERTScorer


_FILES = ["*.json", "*.txt", "*.model", "*.safetensors", "pytorch_model*.bin"]
"""Files that are read of a model's folder on the hub."""


class BertScoreArgs(FromHub, ScorerArgs):
    """Keys of BERTScore."""

    hub_id_key = "model_type"

    language: str = "en"
    """Language of the texts, which chooses model and layer if ``model_type`` is None."""
    model_type: Annotated[OptionalText, INPUT_FILE_OR_ID] = None
    """Model whose embeddings are compared: hub id or folder; None for the language's default."""
    num_layers: Annotated[int, Field(ge=0)] | None = None
    """Layer whose output is compared; None for the one tuned for the model, if there is one."""

    def missing(self) -> Iterator[Problem]:
        """Yield the package that computes it."""
        yield from super().missing()
        yield from lacking("bert-score", "model_type", self.model_type, module="bert_score")


@METRICS.register("bert_score")
class BertScore(Metric[BertScoreArgs]):
    """F1 of greedy cosine matches, best over the references; 0 for an empty output.

    Zhang et al. 2020 (arXiv 1904.09675), without idf weights and without rescaling.
    """

    names = ("semantic/bert_score",)
    Args = BertScoreArgs
    needs_references = True

    def prepare(self) -> None:
        """Check a local model's files."""
        from grue.scorers.loading import check_folder

        if self.args.model_type is not None:
            check_folder(self.args.model_type, "model_type")
        self._layer()

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] F1."""
        texts.check_references("bert_score")
        return {"semantic/bert_score": best_over_references(texts, self._f1)}

    def _f1(self, outputs: list[str], references: list[str]) -> Scores:
        """Return [M] the F1 of pairs; a pair with an empty text has 0."""
        pairs = [i for i, pair in enumerate(zip(outputs, references, strict=True))
                 if all(text.strip() for text in pair)]  # fmt: skip
        found = np.zeros(len(outputs))
        if pairs:
            chosen = [outputs[i] for i in pairs], [references[i] for i in pairs]
            *_, f1 = self._scorer.score(*chosen, batch_size=self.args.batch_size)
            found[pairs] = f1.double().cpu().numpy()
        return found

    def _layer(self) -> int | None:
        """Return the layer to compare; None for that of the language's model.

        Raises:
            UserError: neither the package nor the configuration names one.
        """
        from bert_score.utils import model2layers

        name, layer = self.args.model_type, self.args.num_layers
        known: Mapping[str, int] = model2layers
        if name is None or layer is not None:
            return layer
        if name not in known:
            raise UserError(
                f"'model_type' = '{name}': no layer was tuned for this model; set 'num_layers'"
            )
        return known[name]

    @functools.cached_property
    def _scorer(self) -> BERTScorer:
        from bert_score import BERTScorer
        from huggingface_hub import snapshot_download

        from grue.models.weights import loaded
        from grue.scorers.inputs import longest_input
        from grue.scorers.loading import scorer_device, scorer_dtype

        args = self.args
        options: dict[str, Any] = {
            "num_layers": self._layer(),
            "lang": args.language,
            "device": str(scorer_device(args)),
            "batch_size": args.batch_size,
        }
        by_language = args.model_type is None

        def load(name: str, revision: str | None = None) -> BERTScorer:
            known = args.model_type
            if revision is not None:  # the package takes none, but the folder of one
                known = snapshot_download(name, revision=revision, allow_patterns=_FILES)
            return BERTScorer(model_type=known, **options)

        scorer = loaded(
            load,
            args.model_type or args.language,
            "language" if by_language else "model_type",
            revision=args.revision,
        )
        if by_language:
            note_model(scorer.model_type)
        tokenizer, model = scorer._tokenizer, scorer._model
        # Tokenizers saved without a maximum would not cut what is too long for the model.
        tokenizer.model_max_length = longest_input(model, tokenizer)
        model.to(scorer_dtype(args))
        return scorer
