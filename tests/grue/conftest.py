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

from grue.experiments.new_model.tokenizer import byte_pairs
from grue.policies.policy import Policy
from tests.conftest import Workplace

TEXTS = ["the cat sat on the mat", "a dog runs in the park", "numbers 1 2 3 4 5 and more"]
WIDTH = 32


def spread(width: int) -> float:
    """Standard deviation of weights whose logits, of any width, are far from equal."""
    return 0.4 * (WIDTH / width) ** 0.5


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return byte_pairs(iter(TEXTS * 3), 300, 64)


def causal_model(
    vocab_size: int, seed: int = 0, *, width: int = WIDTH, num_layers: int = 2
) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=vocab_size, n_positions=64, n_embd=width, n_layer=num_layers, n_head=width // 16,
        bos_token_id=0, eos_token_id=0, initializer_range=spread(width),
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    model.loss_type = "ForCausalLM"
    return model


def encoder_decoder(
    kind: str, vocab_size: int, *, width: int = WIDTH, num_layers: int | None = None
) -> torch.nn.Module:
    torch.manual_seed(0)
    heads = width // 16
    if kind == "t5":
        t5 = T5Config(
            vocab_size=vocab_size, d_model=width, d_kv=16, d_ff=2 * width, num_heads=heads,
            num_layers=num_layers or 2, decoder_start_token_id=0, pad_token_id=0, eos_token_id=0,
            tie_word_embeddings=False,
        )  # fmt: skip
        model = T5ForConditionalGeneration(t5)
        with torch.no_grad():
            model.lm_head.weight.normal_(std=spread(width))
        return model.eval()
    num_layers = num_layers or 1
    bart = BartConfig(
        vocab_size=vocab_size, d_model=width, encoder_layers=num_layers, decoder_layers=num_layers,
        encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width, max_position_embeddings=64, decoder_start_token_id=0,
        pad_token_id=0, eos_token_id=0, bos_token_id=0, init_std=spread(width),
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
