"""BERT classifiers with random weights; only sizes and vocabulary come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from torch import Tensor, nn

from common.machine.hub_offline import go_offline_if_unreachable, note_model, revision_option
from common.training.attention_masks import masks_without_waits
from sft_vs_rft.model_names import BERT_PREFIX, ModelError

if TYPE_CHECKING:
    from transformers import BertConfig

_LONGEST = 512  # tokens of a pair, as published


class _Sizes(TypedDict):
    num_hidden_layers: int
    hidden_size: int
    num_attention_heads: int


_SIZES: dict[str, _Sizes] = {
    "bert-tiny": {"num_hidden_layers": 2, "hidden_size": 128, "num_attention_heads": 2},
    "bert-mini": {"num_hidden_layers": 4, "hidden_size": 256, "num_attention_heads": 4},
    "bert-small": {"num_hidden_layers": 4, "hidden_size": 512, "num_attention_heads": 8},
    "bert-medium": {"num_hidden_layers": 8, "hidden_size": 512, "num_attention_heads": 8},
}
_NO_DROPOUT = {
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout": 0.0,
}


class BertClassifier(nn.Module):
    """BERT classifier: tokens in, logits out."""

    def __init__(self, config: BertConfig) -> None:
        from transformers import BertForSequenceClassification

        super().__init__()
        self.bert = BertForSequenceClassification(config)

    @masks_without_waits()
    def forward(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Return [b, C] logits of input_ids, token_type_ids and attention_mask, each [b, T]."""
        logits: Tensor = self.bert(**tokens).logits
        return logits


def bert(model_type: str, num_classes: int, revision: str | None = None) -> nn.Module:
    """Return a BERT of the named size, or of the configuration at ``bert:<id or path>``.

    ``revision`` is the branch, tag or commit of a hub id; None for the default.
    Weights are random, by Hugging Face's own initialisation; there is no dropout.

    Raises:
        ModelError: there is no such configuration, or no model of it.
    """
    config = _configuration(model_type, revision)
    config.update(_NO_DROPOUT)
    config.num_labels = num_classes
    try:
        return BertClassifier(config)
    except Exception as error:  # what a wrong size raises depends on the layer
        raise ModelError(model_type, f"no model can be made of its sizes ({_why(error)})") from None


def load_tokenizer(model_type: str, revision: str | None = None) -> Any:
    """Return the tokenizer of ``model_type``, for pairs as long as the model's positions.

    ``revision`` is the branch, tag or commit of a hub id.

    Raises:
        ModelError: it is neither in a folder nor can be downloaded, or does not fit the model.
    """
    from transformers import AutoTokenizer

    config = _configuration(model_type, revision)
    tokenizer = _from_hub_or_folder(AutoTokenizer, model_type, revision)
    vocabulary = tokenizer.get_vocab()
    if not vocabulary.keys() - set(tokenizer.all_special_tokens):
        raise ModelError(model_type, "has no vocabulary; add its vocab.txt or tokenizer.json")
    if tokenizer.pad_token is None:
        raise ModelError(model_type, "its tokenizer has no token for padding")
    largest = max(vocabulary.values())
    if largest >= config.vocab_size:
        raise ModelError(
            model_type,
            f"its vocabulary goes to {largest}, but 'vocab_size' = {config.vocab_size} in its "
            "configuration",
        )
    if config.type_vocab_size < 2:
        raise ModelError(model_type, "sentences come in pairs, so 'type_vocab_size' must be 2")
    tokenizer.padding_side = "right"
    tokenizer.model_max_length = min(_LONGEST, config.max_position_embeddings)
    return tokenizer


def _configuration(model_type: str, revision: str | None) -> BertConfig:
    from transformers import AutoConfig, BertConfig

    if model_type in _SIZES:
        sizes = _SIZES[model_type]
        return BertConfig(**sizes, intermediate_size=4 * sizes["hidden_size"])
    config = _from_hub_or_folder(AutoConfig, model_type, revision)
    if not isinstance(config, BertConfig):
        raise ModelError(model_type, f"is a {config.model_type}, and only a bert can be made")
    return config


def _from_hub_or_folder(kind: Any, model_type: str, revision: str | None) -> Any:
    source = model_type.removeprefix(BERT_PREFIX)
    if model_type in _SIZES:
        sizes = _SIZES[model_type]
        source = "google/bert_uncased_L-{num_hidden_layers}_H-{hidden_size}_A-{num_attention_heads}"
        source = source.format(**sizes)
    is_here = Path(source).is_dir()
    if not is_here:
        go_offline_if_unreachable()
    try:
        found = kind.from_pretrained(source, **revision_option(revision))
    except Exception as error:  # the hub raises all sorts
        raise ModelError(
            model_type,
            f"{source} cannot be loaded ({_why(error)}); name a folder with config.json and "
            "vocab.txt as 'bert:<path>'",
        ) from error
    if not is_here:
        note_model(source, revision)
    return found


def _why(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
