"""Sequence classifier with its tokenizer: texts in, logits out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from common.machine.devices import sent
from common.training.attention_masks import masks_without_waits
from grue.models.config import MixedPrecision, Side
from grue.models.precision import autocast
from grue.models.vocabulary import check_vocabulary
from grue.models.weights import hide_progress_bars, loaded, placed, pretrained
from grue.policies.policy import by_length
from grue.scorers.inputs import Encoded, longest_input, pad_right, usable_padding
from grue.scorers.loading import check_folder, scorer_device, scorer_dtype
from grue.scorers.options import ScorerArgs

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

log = logging.getLogger(__name__)


class Classifier:
    """Sequence classifier; inputs are padded on the right, where padding marks the last token."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        batch_size: int = 32,
        max_length: int | None = None,
        truncation_side: Side = "left",
    ) -> None:
        """Truncate texts of more than ``max_length`` tokens on ``truncation_side``.

        With None, as many tokens are read as the model can.

        Raises:
            UserError: the tokenizer has ids that the model does not know.
        """
        check_vocabulary(model, tokenizer)
        usable_padding(model, tokenizer)
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.truncation_side = truncation_side
        longest = longest_input(model, tokenizer)
        self.max_length = longest if max_length is None else min(max_length, longest)
        self.mixed_precision: MixedPrecision = "no"
        """Type of the model's matrix products, see `TrainedModelOptions`."""

    @property
    def num_labels(self) -> int:
        """Number of logits, C."""
        return int(self.model.config.num_labels)

    def logits(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return [N, C] the logits of each text; long texts are truncated."""
        return self._logits(self.encode(texts))

    def logits_of_pairs(self, first: Sequence[str], second: Sequence[str]) -> NDArray[np.float64]:
        """Return [N, C] the logits of each pair.

        The longer text of a long pair is truncated at its end.
        """
        return self._logits(self._encoded("right", list(first), list(second)))

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return [N, C] the softmax of the logits; for a single logit its sigmoid."""
        return probabilities(self.logits(texts))

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """Return the ids of each text, at least one; long texts are truncated."""
        return self._encoded(self.truncation_side, list(texts))

    def are_too_long(self, texts: Sequence[str]) -> list[bool]:
        """Return [N] whether a text has more tokens than the model reads."""
        found: Any = self.tokenizer(list(texts), verbose=False)["input_ids"]
        return [len(ids) > self.max_length for ids in found]

    def tell_of_cut(self, texts: Sequence[str], split: str) -> None:
        """Warn of a split's texts that are truncated."""
        num_cut = sum(self.are_too_long(texts)) if texts else 0
        if num_cut:
            log.warning(
                "%d of %d texts of '%s' are longer than %d tokens and are cut on the %s",
                num_cut, len(texts), split, self.max_length, self.truncation_side,
            )  # fmt: skip

    def _encoded(self, cut: Side, *texts: list[str]) -> list[Encoded]:
        if not texts[0]:
            return []
        self.tokenizer.truncation_side = cut
        found: Any = self.tokenizer(*texts, truncation=True, max_length=self.max_length)
        names = [name for name in found if name != "attention_mask"]
        rows = ({name: found[name][i] for name in names} for i in range(len(texts[0])))
        return [row if row["input_ids"] else self._nothing(names) for row in rows]

    def _nothing(self, names: Sequence[str]) -> Encoded:
        """Return the input of a text without tokens, which is at least one padding token."""
        empty = self.tokenizer.pad_token_id or 0
        return {name: [empty if name == "input_ids" else 0] for name in names}

    @torch.no_grad()
    @masks_without_waits()
    def _logits(self, rows: Sequence[Encoded]) -> NDArray[np.float64]:
        """Return [N, C] the logits, in the order of the rows; rows of similar length share a batch.

        The host waits for the device once, at the end.
        """
        found = np.zeros((len(rows), self.num_labels))
        device, fill = self.model.device, self.tokenizer.pad_token_id or 0
        was_training = self.model.training
        self.model.eval()
        batches = list(by_length([len(row["input_ids"]) for row in rows], self.batch_size))
        logits = []
        for chosen in batches:
            batch = pad_right([rows[row] for row in chosen], fill)
            with autocast(self.mixed_precision, device):
                output = self.model(**{name: sent(ids, device) for name, ids in batch.items()})
            logits.append(output.logits.double())
        self.model.train(was_training)
        if batches:
            found[np.concatenate(batches)] = torch.cat(logits).cpu().numpy()
        return found


def probabilities(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return [N, C] the softmax of logits [N, C]; for a single logit its sigmoid."""
    if logits.shape[-1] == 1:
        logits = np.concatenate([logits, np.zeros_like(logits)], -1)
        return probabilities(logits)[:, :1]
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
    return found


def load_classifier(
    name: str,
    key: str,
    options: ScorerArgs,
    *,
    revision: str | None = None,
    max_length: int | None = None,
    truncation_side: Side = "left",
) -> Classifier:
    """Return the sequence classifier called ``name`` (the value of ``key``), in evaluation mode.

    ``revision`` is the branch, tag or commit of a hub id; None for the default.
    Inputs have at most ``max_length`` tokens, None for as many as the model can read. Longer texts
    are truncated on ``truncation_side``.

    Raises:
        UserError: there is no such classifier, or it has no trained head.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from grue.scorers.classifier import Classifier

    check_folder(name, key)
    hide_progress_bars()
    tokenizer = loaded(AutoTokenizer.from_pretrained, name, key, revision=revision)
    kind = AutoModelForSequenceClassification
    model = pretrained(kind, name, key, revision=revision, dtype=scorer_dtype(options))
    return Classifier(
        placed(model, scorer_device(options)),
        tokenizer,
        batch_size=options.batch_size,
        max_length=max_length,
        truncation_side=truncation_side,
    )
