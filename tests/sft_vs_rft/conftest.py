"""A very small BERT and sentence pairs for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sft_vs_rft.config import ControlledConfig

WORDS = [
    "a",
    "man",
    "plays",
    "the",
    "big",
    "flute",
    "dog",
    "cat",
    "runs",
    "home",
    "red",
    "blue",
    "tree",
    "house",
    "sings",
]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A folder with the configuration and vocabulary of a very small BERT."""
    folder = tmp_path_factory.mktemp("bert")
    (folder / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
    )
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    (folder / "config.json").write_text(
        json.dumps({"model_type": "bert", "vocab_size": 20, "intermediate_size": 32, **sizes})
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    yield f"bert:{folder}"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A folder of sentence pairs of very different lengths."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pairs"
    folder.mkdir()
    for part, size in (("train", 120), ("validation", 30)):
        rows = [
            {
                "sentence1": " ".join(rng.choice(WORDS, rng.integers(1, 40))),
                "sentence2": " ".join(rng.choice(WORDS, rng.integers(1, 40))),
                "label": float(i % 6) + (0.3 if i % 2 else -0.0),
            }
            for i in range(size)
        ]
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def stsb(bert: str, pairs: Path, **keys: Any) -> ControlledConfig:
    return ControlledConfig.model_validate(
        {"dataset": "stsb", "data_path": str(pairs), "model_type": bert, "random_seed": 1,
         "num_train_samples": 0, "num_labels_per_sample": 3, "samples_rnd_seed": 4,
         "batch_size": 64, "init_rnd_seed": 5, **keys}
    )  # fmt: skip
