"""A random GPT-2 with the published vocabulary's size, and a tokenizer of made-up words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

    from grue.policies.policy import Policy

VOCABULARY = 50_257
END = "<|endoftext|>"


def made_up_words() -> PreTrainedTokenizerFast:
    """A tokenizer of the words w1, w2, ..., one token each."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {END: 0} | {f"w{i}": i for i in range(1, VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=END))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END, pad_token=END)


def random_model(num_layers: int = 4, width: int = 128, num_heads: int = 4) -> GPT2LMHeadModel:
    """GPT-2 with random weights and without dropout; 12, 768 and 12 are the published 124M."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_layer=num_layers, n_embd=width, n_head=num_heads,
        bos_token_id=0, eos_token_id=0, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def random_gpt2(*sizes: int, device: torch.device | str = "cpu") -> Policy:
    """The model, of sizes as in `random_model`, with its tokenizer."""
    from grue.policies.policy import Policy

    return Policy(random_model(*sizes), made_up_words(), device)
