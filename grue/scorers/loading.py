"""Loading models that judge texts, and what they can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from common.errors import UserError
from common.files.documents import json_object
from grue.models.config import Side
from grue.models.weights import has_weights, loaded, pretrained
from grue.scorers.options import JudgeArgs

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from grue.scorers.classifier import Classifier

Encoded = Mapping[str, list[int]]
"""``input_ids`` of one input, and what else the tokenizer says of each token."""
_UNLIMITED = 10**9
"""Tokenizers without a maximum give a number beyond this one."""


def load_classifier(
    name: str,
    key: str,
    options: JudgeArgs,
    *,
    revision: str | None = None,
    max_length: int | None = None,
    truncation_side: Side = "left",
) -> Classifier:
    """The sequence classifier called ``name`` (the value of ``key``), ready to judge.

    Of a hub id ``revision`` is the branch, tag or commit; None for the default.
    ``max_length`` is the most tokens of an input, None for as many as the model can read; long
    texts are cut on ``truncation_side``.

    Raises:
        UserError: there is none, or it has no trained head.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    from grue.scorers.classifier import Classifier

    check_folder(name, key)
    disable_progress_bar()  # it would break through the plan's
    tokenizer = loaded(AutoTokenizer.from_pretrained, name, key, revision=revision)
    kind = AutoModelForSequenceClassification
    model = pretrained(kind, name, key, revision=revision, dtype=judge_dtype(options))
    return Classifier(
        model.to(judge_device(options)),
        tokenizer,
        batch_size=options.batch_size,
        max_length=max_length,
        truncation_side=truncation_side,
    )


def check_folder(name: str, key: str) -> Mapping[str, Any]:
    """Looks at a local model without loading it; gives its configuration, {} for a hub id.

    Raises:
        UserError: the folder is not there, or has no configuration or no weights.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")):
            raise UserError(f"'{key}' = '{name}': no such folder")
        return {}
    advice = "; name the folder 'model' in it" if (folder / "model").is_dir() else ""
    try:
        config = json_object((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"'{key}' = '{name}': its config.json cannot be read: {error}{advice}"
        ) from error
    if not has_weights(folder):
        raise UserError(f"'{key}' = '{name}': the folder holds no weights{advice}")
    return config


def num_labels(config: Mapping[str, Any]) -> int:
    """The labels of a classifier's configuration; two where it does not say."""
    return len(config["id2label"]) if "id2label" in config else int(config.get("num_labels", 2))


def judge_device(options: JudgeArgs) -> torch.device:
    """The configured device, or else where this process computes.

    That is the GPU with most of its tensors, and the CPU while no GPU is in use.
    """
    if options.device is not None:
        try:
            return torch.zeros((), device=options.device).device
        except (RuntimeError, AssertionError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"'device' = '{options.device}': cannot be used ({reason}); a run sees the GPUs of "
                "its 'gpu_ids' alone, counted from 0"
            ) from error
    if not torch.cuda.is_initialized():
        return torch.device("cpu")
    return torch.device("cuda", max(range(torch.cuda.device_count()), key=_tensors_on))


def judge_dtype(options: JudgeArgs) -> torch.dtype:
    """The configured type of weights."""
    found: torch.dtype = getattr(torch, options.dtype)
    return found


def _tensors_on(gpu: int) -> int:
    return int(torch.cuda.memory_allocated(gpu))


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
