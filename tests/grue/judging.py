"""Tiny classifiers with random weights, as folders in Hugging Face layout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    GPT2Config,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

from grue.experiments.new_model.tokenizer import byte_pairs
from grue.texts import Texts

WORDS = ["the cat sat on the mat", "a dog runs in the park", "good bad fine 1 2 3 4 5 , . ! < >"]


def texts(
    outputs: Sequence[str],
    references: Sequence[Sequence[str]] | None = None,
    prompts: Sequence[str] | None = None,
    metadata: Sequence[dict[str, Any]] | None = None,
) -> Texts:
    count = len(outputs)
    return Texts(
        prompts or [f"prompt {i}" for i in range(count)],
        outputs,
        [[]] * count if references is None else references,
        metadata or [{}] * count,
    )


def encoder_tokenizer(max_length: int | None = None) -> PreTrainedTokenizerFast:
    """A word-piece tokenizer that puts [CLS] before and [SEP] behind."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=120, special_tokens=special, show_progress=False,
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz"),
    )  # fmt: skip
    tokenizer.train_from_iterator(WORDS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )  # fmt: skip
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", **({} if max_length is None else {"model_max_length": max_length}),
    )  # fmt: skip


def save_classifier(
    folder: Path, kind: str = "bert", num_labels: int = 2, seed: int = 0, **options: Any
) -> Path:
    """A classifier of 32 positions, whose probabilities are far from equal."""
    sizes: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
                             "intermediate_size": 32, "initializer_range": 0.5}  # fmt: skip
    if kind == "gpt2":
        tokenizer = byte_pairs(iter(WORDS), 300, 32)
        config: Any = GPT2Config(vocab_size=len(tokenizer), n_positions=32, n_embd=32, n_layer=2,
                                 n_head=2, num_labels=num_labels, bos_token_id=0, eos_token_id=0,
                                 pad_token_id=0, initializer_range=0.5, **options)  # fmt: skip
    else:
        tokenizer = encoder_tokenizer()
        roberta = kind == "roberta"
        config = (RobertaConfig if roberta else BertConfig)(
            vocab_size=len(tokenizer), max_position_embeddings=33 if roberta else 32,
            pad_token_id=0, num_labels=num_labels, bos_token_id=2, eos_token_id=3,
            **sizes, **options,
        )  # fmt: skip
    torch.manual_seed(seed)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
