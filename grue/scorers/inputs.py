"""Inputs of models that score texts: how long they may be, and how they are padded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


Encoded = Mapping[str, list[int]]
"""``input_ids`` of one input, and what else the tokenizer says of each token."""


_UNLIMITED = 10**9
"""Tokenizers without a maximum give a number beyond this one."""


def longest_input(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Most tokens that both can deal with."""
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
    """Makes sure that model and tokenizer know how to fill up short inputs."""
    tokenizer.padding_side = "right"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if getattr(model.config, "pad_token_id", None) is None:
        model.config.pad_token_id = tokenizer.pad_token_id


def pad_right(rows: Sequence[Encoded], fill: int) -> dict[str, Tensor]:
    """Rows as tensors [B, P] with their ``attention_mask``, filled up to the longest of them.

    They are on the CPU.
    """
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
