"""SummaC: consistency of a summary with its document, sentence by sentence.

The document is the prompt, the summary the output.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, Field, Strict

from common.config.base import INPUT_FILE, INPUT_FILE_OR_ID, LATER, NO_EFFECT, OptionalText
from common.config.hub_revision import FromHub, misplaced_revision
from common.errors import Problem, UserError
from grue.metrics.metric import METRICS, Metric, Scores
from grue.nltk_data import SENTENCE_ENDS, why_missing
from grue.scorers.options import ScorerArgs
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.scorers.entailment import Entailment
    from grue.scorers.summac import Convolution

_OF_SENTENCES = ("sentence", "2sents", "mixed")
_PIECES = ("document", "paragraph", *_OF_SENTENCES)


def _known_pieces(granularity: str) -> str:
    names = granularity.split("-")
    if len(names) > 2 or not set(names) <= set(_PIECES):
        raise ValueError(f"expected one of {', '.join(_PIECES)}, or two of them as in a-b")
    return granularity


def _known_bins(bins: str) -> str:
    if bins != "percentile" and not re.fullmatch(r"even[1-9]\d*", bins):
        raise ValueError("expected 'percentile', or 'even' and a number, such as 'even50'")
    return bins


Granularity = Annotated[str, AfterValidator(_known_pieces)]
Bins = Annotated[str, AfterValidator(_known_bins)]
Classifiers = Annotated[tuple[str, ...], Strict(False), Field(min_length=1), INPUT_FILE_OR_ID]
Aggregate = Literal["max", "mean", "min"]


class SummacArgs(ScorerArgs):
    """Keys of both scores."""

    imager_load_cache: Annotated[bool, NO_EFFECT] = True
    """Accepted from published files and ignored: nothing is cached."""
    granularity: Granularity = "paragraph"
    """Pieces of both texts, or of document and summary, such as ``paragraph-sentence``."""

    def missing(self) -> Iterator[Problem]:
        """Sentence splitter."""
        yield from super().missing()
        splits_sentences = set(self.granularity.split("-")) & set(_OF_SENTENCES)
        if splits_sentences and (why := why_missing(SENTENCE_ENDS)):
            yield Problem(why, "granularity", self.granularity)


class SummacZSArgs(FromHub, SummacArgs):
    """Keys of the zero-shot score."""

    model_name: Annotated[str, INPUT_FILE_OR_ID] = "mnli"
    """Classifier of pairs: a SummaC name (``mnli``, ``anli``, ``vitc``, ``mnli-base``,
    ``snli-base``, ``snli-large``, ``vitc-base``, ``vitc-only``), a hub id, or a folder."""
    op1: Aggregate = "max"
    """Reduction over the document's pieces."""
    op2: Aggregate = "mean"
    """Reduction over the summary's pieces."""
    use_ent: bool = True
    """If true, entailment is added."""
    use_con: bool = True
    """If true, contradiction is subtracted."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a score with neither entailment nor contradiction."""
        yield from super().problems()
        if not self.use_ent and not self.use_con:
            yield Problem("must be true where 'use_con' is false", "use_ent", False)


@METRICS.register("summaCZS")
class SummacZS(Metric[SummacZSArgs]):
    """Entailment minus contradiction, from -1 to 1; 0 for an output without sentences."""

    names = ("consistency/summaczs",)
    Args = SummacZSArgs

    def prepare(self) -> None:
        """Check the sentence splitter and a local classifier."""
        _prepare([self.args.model_name], "model_name", self.args.granularity)

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] scores."""
        from grue.scorers.summac import zero_shot

        args = self.args
        options: Any = {
            "op1": args.op1, "op2": args.op2, "use_ent": args.use_ent, "use_con": args.use_con
        }  # fmt: skip
        matrices = self._entailment.matrices(texts.prompts, texts.outputs)
        found = np.array([
            zero_shot(matrix, **options) if matrix.any() else 0.0 for matrix in matrices
        ])  # fmt: skip
        return {"consistency/summaczs": found}

    @functools.cached_property
    def _entailment(self) -> Entailment:
        from grue.scorers.entailment import Entailment

        args = self.args
        return Entailment(args.model_name, "model_name", args, args.granularity, args.revision)


class SummacConvArgs(SummacArgs):
    """Keys of the convolution's score."""

    start_file: Annotated[OptionalText, INPUT_FILE] = None
    """Trained weights, required: a file such as ``summac_conv_vitc_sent_perc_e.bin``, which was
    trained with ``models`` vitc, ``bins`` percentile and ``granularity`` sentence."""
    models: Classifiers = ("mnli", "anli", "vitc")
    """Classifiers of pairs, as for the zero-shot score."""
    revisions: Annotated[dict[str, str], LATER] = Field(default_factory=dict)
    """Branches, tags or commits by name in ``models``; other models use their default branch."""
    bins: Bins = "even50"
    """Bins of the histograms: ``even<n>`` or ``percentile``."""
    granularity: Granularity = "sentence"
    """Pieces of both texts, or of document and summary."""
    nli_labels: Literal["e", "c", "n", "ec", "en", "cn", "ecn"] = "e"
    """Probabilities to use: entailment (e), contradiction (c), neutral (n)."""
    agg: Literal["mean", "min", "max", "all"] = "mean"
    """Reduction over the summary's pieces."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of missing weights."""
        yield from super().problems()
        if self.start_file is None:
            yield Problem(
                "needed: without trained weights the score means nothing; name a file such as "
                "summac_conv_vitc_sent_perc_e.bin",
                "start_file",
            )
        for name, revision in self.revisions.items():
            given = name if name in self.models else None
            yield from misplaced_revision(revision, given, "models", f"revisions.{name}")


@METRICS.register("summaCConv")
class SummacConv(Metric[SummacConvArgs]):
    """Probability of consistency by a trained convolution, from 0 to 1."""

    names = ("consistency/summacconv",)
    Args = SummacConvArgs

    def prepare(self) -> None:
        """Check the sentence splitter, local classifiers, and that the weights fit."""
        _prepare(self.args.models, "models", self.args.granularity)
        self._read_weights()

    def scores(self, texts: Texts) -> Mapping[str, Scores]:
        """Return [N] probabilities."""
        from grue.scorers.summac import bin_edges, histograms

        found = [model.matrices(texts.prompts, texts.outputs) for model in self._entailments]
        matrices = [np.concatenate(parts) for parts in zip(*found, strict=True)]
        edges = bin_edges(self.args.bins)
        rows = [histograms(matrix, edges, self.args.nli_labels) for matrix in matrices]
        return {"consistency/summacconv": self._convolution.scores(rows)}

    @functools.cached_property
    def _entailments(self) -> list[Entailment]:
        from grue.scorers.entailment import Entailment

        args = self.args
        return [
            Entailment(name, "models", args, args.granularity, args.revisions.get(name))
            for name in args.models
        ]

    @functools.cached_property
    def _convolution(self) -> Convolution:
        return self._read_weights()

    def _read_weights(self) -> Convolution:
        from grue.scorers.summac import Convolution, bin_edges

        args = self.args
        if args.start_file is None:
            raise UserError("'start_file': needed for 'summaCConv'")
        bins = len(bin_edges(args.bins)) - 1
        size = bins * len(args.models) * len(args.nli_labels)
        return Convolution(args.start_file, size=size, agg=args.agg)


def _prepare(names: tuple[str, ...] | list[str], key: str, granularity: str) -> None:
    from grue.scorers.entailment import hub_id
    from grue.scorers.loading import check_folder

    for name in names:
        check_folder(hub_id(name), key)
