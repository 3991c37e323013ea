"""BERT classifiers with random weights; only sizes and vocabulary come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from common.errors import UserError
from sft_vs_rft.model_names import BERT_PREFIX

_SIZES = {
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
    """Tokens in, logits out."""

    def __init__(self, config: Any) -> None:
        from transformers import BertForSequenceClassification

        super().__init__()
        self.bert = BertForSequenceClassification(config)

    def forward(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """[b, C] logits of input_ids, token_type_ids and attention_mask, each [b, T]."""
        logits: Tensor = self.bert(**tokens).logits
        return logits


def bert(model_type: str, num_classes: int) -> nn.Module:
    """A BERT of the named size, or of the configuration at ``bert:<id or path>``.

    Weights are random, by Hugging Face's own initialisation; there is no dropout.

    Raises:
        UserError: there is no such configuration.
    """
    from transformers import AutoConfig, BertConfig

    if model_type in _SIZES:
        sizes = _SIZES[model_type]
        config = BertConfig(**sizes, intermediate_size=4 * sizes["hidden_size"])
    else:
        config = _from_hub_or_folder(AutoConfig, model_type)
    config.update(_NO_DROPOUT)
    config.num_labels = num_classes
    return BertClassifier(config)


def load_tokenizer(model_type: str) -> Any:
    """The tokenizer that belongs to ``model_type``.

    Raises:
        UserError: it is neither in a folder nor to be had.
    """
    from transformers import AutoTokenizer

    return _from_hub_or_folder(AutoTokenizer, model_type)


def _from_hub_or_folder(kind: Any, model_type: str) -> Any:
    source = model_type.removeprefix(BERT_PREFIX)
    if model_type in _SIZES:
        sizes = _SIZES[model_type]
        source = "google/bert_uncased_L-{num_hidden_layers}_H-{hidden_size}_A-{num_attention_heads}"
        source = source.format(**sizes)
    try:
        return kind.from_pretrained(source)
    except Exception as error:  # the hub raises all sorts
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"'model_type' = '{model_type}': {source} cannot be loaded ({why}); name a folder with "
            "config.json and vocab.txt as 'bert:<path>'"
        ) from error
