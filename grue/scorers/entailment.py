"""Entailment between pieces of a document and pieces of its summary (SummaC's NLI matrices).

Laban et al. 2022 (arXiv 2111.09525).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError
from grue.scorers.classifier import Classifier, load_classifier, probabilities
from grue.scorers.options import ScorerArgs

Matrix = NDArray[np.float64]
"""[3, D, S] probabilities of entailment, contradiction and neutral, for D document pieces and S
summary pieces."""

_SHORTEST = 11
"""Smallest number of characters of a piece; shorter ones are dropped."""
_MOST_DOCUMENT_PIECES = 100
_LONGEST_PAIR = 500
"""Number of tokens that the classifier reads of a pair."""


@dataclass(frozen=True)
class _Known:
    """A published classifier, and the positions of its labels."""

    hub_id: str
    entailment: int
    contradiction: int


_KNOWN = {
    "snli-base": _Known("boychaboy/SNLI_roberta-base", 0, 2),
    "snli-large": _Known("boychaboy/SNLI_roberta-large", 0, 2),
    "mnli-base": _Known("microsoft/deberta-base-mnli", 2, 0),
    "mnli": _Known("roberta-large-mnli", 2, 0),
    "anli": _Known("ynie/roberta-large-snli_mnli_fever_anli_R1_R2_R3-nli", 0, 2),
    "vitc-base": _Known("tals/albert-base-vitaminc-mnli", 0, 1),
    "vitc": _Known("tals/albert-xlarge-vitaminc-mnli", 0, 1),
    "vitc-only": _Known("tals/albert-xlarge-vitaminc", 0, 1),
}


def hub_id(name: str) -> str:
    """Return the hub id behind a SummaC name of a classifier; any other name unchanged."""
    return _KNOWN[name].hub_id if name in _KNOWN else name


def label_order(name: str, labels: Mapping[int, str]) -> list[int]:
    """Return the positions of entailment, contradiction and neutral among a classifier's labels.

    Raises:
        UserError: its labels have other names, or there are not three of them.
    """
    if name in _KNOWN:
        found = [_KNOWN[name].entailment, _KNOWN[name].contradiction]
        return [*found, *({0, 1, 2} - set(found))]
    wanted = ("entail", "contradict", "neutral")
    order = [
        index for start in wanted for index, label in labels.items()
        if label.lower().startswith(start)
    ]  # fmt: skip
    if len(order) != 3 or len(labels) != 3:
        raise UserError(
            f"'{name}': its labels are {', '.join(labels.values())}; a classifier for SummaC has "
            "entailment, contradiction and neutral"
        )
    return order


class Entailment:
    """Natural-language-inference classifier, applied to all pairs of pieces."""

    def __init__(
        self,
        name: str,
        key: str,
        options: ScorerArgs,
        granularity: str,
        revision: str | None = None,
    ) -> None:
        """Set the pieces of both texts, or of document and summary by ``a-b``.

        ``revision`` is the branch, tag or commit of a hub id; None for the default.
        """
        of_document, _, of_summary = granularity.partition("-")
        self._split_document = SPLITS[of_document]
        self._split_summary = SPLITS[of_summary or of_document]
        self._classifier: Classifier = load_classifier(
            hub_id(name), key, options, revision=revision, max_length=_LONGEST_PAIR
        )
        self._order = label_order(name, self._classifier.model.config.id2label)

    def matrices(self, documents: Sequence[str], summaries: Sequence[str]) -> list[Matrix]:
        """Return one matrix per document and its summary.

        Zeros [3, 1, 1] where a text has no pieces.
        """
        pieces = [
            (self._split_document(document)[:_MOST_DOCUMENT_PIECES], self._split_summary(summary))
            for document, summary in zip(documents, summaries, strict=True)
        ]
        premises = [p for found, wanted in pieces for p in found for _ in wanted]
        hypotheses = [h for found, wanted in pieces for _ in found for h in wanted]
        read = probabilities(self._classifier.logits_of_pairs(premises, hypotheses))
        read = read[:, self._order]
        matrices, start = [], 0
        for found, wanted in pieces:
            size = len(found) * len(wanted)
            part = read[start : start + size].T.reshape(3, len(found), len(wanted))
            matrices.append(part if size else np.zeros((3, 1, 1)))
            start += size
        return matrices


def _sentences(text: str) -> list[str]:
    from nltk.tokenize import sent_tokenize

    try:
        found: list[str] = sent_tokenize(text)
    except LookupError as error:
        raise UserError(
            "sentences are split by nltk's 'punkt_tab', which is not there: "
            "python -m nltk.downloader punkt_tab"
        ) from error
    return [sentence for sentence in found if len(sentence) >= _SHORTEST]


def _two_sentences(text: str) -> list[str]:
    """Return each sentence joined with the next one."""
    found = _sentences(text)
    return [" ".join(found[i : i + 2]) for i in range(len(found))]


def _paragraphs(text: str) -> list[str]:
    found = (piece.strip() for piece in text.split("\n\n" if "\n\n" in text else "\n"))
    return [piece for piece in found if len(piece) >= _SHORTEST]


SPLITS: Mapping[str, Callable[[str], list[str]]] = {
    "document": lambda text: [text] if text.strip() else [],
    "paragraph": _paragraphs,
    "sentence": _sentences,
    "2sents": _two_sentences,
    "mixed": lambda text: _sentences(text) + _paragraphs(text),
}
