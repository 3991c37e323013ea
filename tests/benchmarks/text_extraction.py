"""Seconds to draw and score samples: this project's extraction against the predecessor's loop.

64 prompts of 4 to 30 tokens, 10 samples of 20 tokens each, random GPT-2 (4 layers, width 128,
vocabulary 50,257), ROUGE against one reference. The predecessor makes ten passes of one sample per
prompt through the library's ``generate``, all prompts padded to one length, and scores each sample
with a metric made for it (a scorer and a bootstrap over its one score). Both begin with loaded
models; this project's time includes its tables.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from common.experiment import Context
from common.run_folder import RunFolder
from grue.config import ExtractConfig
from grue.extract import Extraction
from tests.benchmarks.text_models import VOCABULARY, made_up_words, random_model

if TYPE_CHECKING:
    from transformers import GPT2LMHeadModel

_PROMPTS, _SAMPLES, _TOKENS = 64, 10, 20
_MAX_LENGTH = 32


def write(folder: Path, model: GPT2LMHeadModel, num_prompts: int) -> None:
    """Writes the model, a tokenizer of made-up words, and prompts with references."""
    model.save_pretrained(folder)
    made_up_words().save_pretrained(folder)
    draw = random.Random(0)

    def words(count: int) -> str:
        return " ".join(f"w{draw.randrange(1, VOCABULARY)}" for _ in range(count))

    rows = [
        {"prompt": words(draw.randint(4, 30)), "references": [words(_TOKENS)]}
        for _ in range(num_prompts)
    ]
    lines = (json.dumps(row) + "\n" for row in rows)
    (folder / "data.jsonl").write_text("".join(lines))


def configuration(
    folder: Path, num_samples: int, num_tokens: int, *, metric: str, batch_size: int
) -> ExtractConfig:
    """Of an extraction of what `write` has written; all outputs have one length."""
    return ExtractConfig.model_validate(
        {
            "tokenizer": {"model_name": str(folder), "max_length": _MAX_LENGTH},
            "datapool": {"id": "jsonl", "args": {"path": str(folder / "data.jsonl")}},
            "alg": {
                "model_type": "causal",
                "model_name": str(folder),
                "generation_kwargs": {
                    "do_sample": True,
                    "top_k": 0,
                    "min_length": num_tokens,
                    "max_new_tokens": num_tokens,
                },
            },
            "evaluation": {
                "eval_batch_size": batch_size,
                "num_samples_per_input": num_samples,
                "metrics": [{"id": metric}],
            },
        }
    )


def _extraction(folder: Path) -> Extraction:
    config = configuration(folder, _SAMPLES, _TOKENS, metric="rouge", batch_size=16)
    own = folder / "run"
    own.mkdir()
    return Extraction(config, Context(RunFolder(own), seed=0))


def _predecessor(extraction: Extraction) -> tuple[float, float]:
    """Seconds of generation and of scoring."""
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score.scoring import BootstrapAggregator
    from transformers import GenerationConfig

    policy, inputs = extraction.policy, extraction.inputs
    tokenizer = policy.tokenizer
    padded = tokenizer(inputs.prompts(), padding="max_length", max_length=_MAX_LENGTH,
                       truncation=True, return_tensors="pt")  # fmt: skip
    settings = GenerationConfig(do_sample=True, top_k=0, top_p=1.0, min_new_tokens=_TOKENS,
                                max_new_tokens=_TOKENS, pad_token_id=0, eos_token_id=0)  # fmt: skip
    generating = scoring = 0.0
    for _ in range(_SAMPLES):
        started = time.perf_counter()
        found = policy.model.generate(
            input_ids=padded["input_ids"],
            attention_mask=padded["attention_mask"],
            generation_config=settings,
        )
        texts = tokenizer.batch_decode(found[:, _MAX_LENGTH:], skip_special_tokens=True)
        generated = time.perf_counter()
        for text, sample in zip(texts, inputs.samples, strict=True):
            scorer = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=True)
            aggregator = BootstrapAggregator()
            aggregator.add_scores(scorer.score(sample.references[0], text))
            aggregator.aggregate()
        generating += generated - started
        scoring += time.perf_counter() - generated
    return generating, scoring


def main() -> None:
    """Prints seconds of both, their ratio, and the share of padding."""
    np.random.seed(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, random_model(), _PROMPTS)
        extraction = _extraction(folder)
        extraction.policy.sample([[1, 2, 3]], torch.rand(1, 1, _TOKENS),
                                 extraction.config.alg.generation_kwargs)  # fmt: skip
        started = time.perf_counter()
        extraction.run()
        own = time.perf_counter() - started
        generating, scoring = _predecessor(extraction)
        padding = json.loads(extraction.folder.summary.read_text())["padding"]
    total = generating + scoring
    print(f"{_PROMPTS} prompts, {_SAMPLES} samples of {_TOKENS} tokens, seconds "
          f"({torch.get_num_threads()} threads)")  # fmt: skip
    print(
        f"  predecessor's loop   {total:8.2f}   ({generating:.2f} generation, {scoring:.2f} ROUGE)"
    )
    print(f"  this project         {own:8.2f}   {total / own:.1f} times as fast")
    print(f"  padding of prompts   {padding:8.1%}")


if __name__ == "__main__":
    main()
