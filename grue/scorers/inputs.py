"""Inputs of models that score texts: maximum length, encoding and padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Encoded = Mapping[str, list[int]]
"""Encoded input: ``input_ids``, and the tokenizer's other values per token."""


_UNLIMITED = 10**9
"""Number above which a tokenizer's maximum length means that it has none."""


def longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the largest number of tokens that both model and tokenizer accept."""
    config = model.config
    names = ("max_position_embeddings", "n_positions")
    limits = [getattr(config, name, None) for name in names]
    limit = next((number for number in limits if number), _UNLIMITED)
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            limit -= padding + 1  # RoBERTa counts positions from there
    return int(min(limit, tokenizer.model_max_length, _UNLIMITED))


def usable_padding(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Set a padding token that model and tokenizer agree on."""
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = tokenizer.pad_token_id


def pad_right(rows: Sequence[Encoded], fill: int) -> dict[str, Tensor]:
    """Return rows as CPU tensors [B, P] with ``attention_mask``, padded to the longest of them."""
    width = max(len(row["input_ids"]) for row in rows)

    def padded(sequences: Sequence[list[int]], value: int) -> Tensor:
        filled = [[*ids, *[value] * (width - len(ids))] for ids in sequences]
        return torch.tensor(filled)

    return {
        **{
            name: padded([row[name] for row in rows], fill if name == "input_ids" else 0)
            for name in rows[0]
        },
        "attention_mask": padded([[1] * len(row["input_ids"]) for row in rows], 0),
    }
