"""Tiny models with random weights, and tokenizers trained on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
)

from grue.new_tokenizer import byte_pairs
from grue.policies.policy import Policy
from tests.conftest import Workplace

TEXTS = ["the cat sat on the mat", "a dog runs in the park", "numbers 1 2 3 4 5 and more"]


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_pairs(iter(TEXTS * 3), 300, 64)


def causal_model(vocab_size: int, seed: int = 0) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=vocab_size, n_positions=64, n_embd=32, n_layer=2, n_head=2,
        bos_token_id=0, eos_token_id=0, initializer_range=0.4,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    model.loss_type = "ForCausalLM"
    return model


def encoder_decoder(kind: str, vocab_size: int) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "t5":
        t5 = T5Config(
            vocab_size=vocab_size, d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
            decoder_start_token_id=0, pad_token_id=0, eos_token_id=0, tie_word_embeddings=False,
        )  # fmt: skip
        model = T5ForConditionalGeneration(t5)
        with torch.no_grad():
            model.lm_head.weight.normal_(std=0.4)
        return model.eval()
    bart = BartConfig(
        vocab_size=vocab_size, d_model=32, encoder_layers=1, decoder_layers=1,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64,
        decoder_ffn_dim=64, max_position_embeddings=64, decoder_start_token_id=0,
        pad_token_id=0, eos_token_id=0, bos_token_id=0, init_std=0.4,
    )  # fmt: skip
    return BartForConditionalGeneration(bart).eval()


@pytest.fixture(scope="session", params=["gpt2", "t5", "bart"])
def policy(request: pytest.FixtureRequest, tokenizer: PreTrainedTokenizerFast) -> Policy:
    """A policy of each kind, whose distributions are far from uniform."""
    size = len(tokenizer)
    kind = request.param
    return Policy(causal_model(size) if kind == "gpt2" else encoder_decoder(kind, size), tokenizer)


@pytest.fixture(scope="session")
def causal_policy(tokenizer: PreTrainedTokenizerFast) -> Policy:
    return Policy(causal_model(len(tokenizer)), tokenizer)


def save_model(folder: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    """A causal model with its tokenizer, in Hugging Face layout."""
    causal_model(len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """The tree of dotted keys."""
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return tree


def write(workplace: Workplace, *configurations: dict[str, Any], **document: Any) -> Path:
    """Writes a plan of configurations, each a flat one with its experiment."""
    runs = []
    for configuration in configurations:
        tree = nested(configuration)
        outer = {key: tree.pop(key) for key in ("id", "experiment") if key in tree}
        runs.append({**outer, "base_config": tree})
    return workplace.write_plan(configurations=runs, **document)
