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

import numpy as np
import torch

from common.experiment import Context
from common.run.folder import RunFolder
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.extract.run import Extraction
from tests.benchmarks.text_models import VOCABULARY, made_up_words, random_model

_PROMPTS, _SAMPLES, _TOKENS = 64, 10, 20
_MAX_LENGTH = 32


def _model(folder: Path, sizes: tuple[int, int, int]) -> None:
    random_model(*sizes).save_pretrained(folder)
    made_up_words().save_pretrained(folder)


def _data(path: Path, prompts: int) -> None:
    draw = random.Random(0)

    def words(count: int) -> str:
        return " ".join(f"w{draw.randrange(1, VOCABULARY)}" for _ in range(count))

    rows = [
        {"prompt": words(draw.randint(4, 30)), "references": [words(_TOKENS)]}
        for _ in range(prompts)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def made(
    folder: Path,
    sizes: tuple[int, int, int] = (4, 128, 4),
    *,
    prompts: int = _PROMPTS,
    gpu_ids: tuple[int, ...] = (),
) -> Extraction:
    """The run, with a model of so many layers, width and heads."""
    _model(folder, sizes)
    _data(folder / "data.jsonl", prompts)
    config = ExtractConfig.model_validate(
        {
            "tokenizer": {"model_name": str(folder), "max_length": _MAX_LENGTH},
            "datapool": {"id": "jsonl", "args": {"path": str(folder / "data.jsonl")}},
            "alg": {
                "model_type": "causal",
                "model_name": str(folder),
                "generation_kwargs": {
                    "do_sample": True,
                    "top_k": 0,
                    "min_length": _TOKENS,
                    "max_new_tokens": _TOKENS,
                },
            },
            "evaluation": {
                "eval_batch_size": 16,
                "num_samples_per_input": _SAMPLES,
                "metrics": [{"id": "rouge"}],
            },
        }
    )
    own = folder / "run"
    own.mkdir()
    return Extraction(config, Context(RunFolder(own), seed=0, gpu_ids=gpu_ids)).set_up()


def predecessor(extraction: Extraction) -> tuple[float, float]:
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
    ids, mask = (padded[name].to(policy.device) for name in ("input_ids", "attention_mask"))
    generating = scoring = 0.0
    for _ in range(_SAMPLES):
        started = time.perf_counter()
        found = policy.model.generate(
            input_ids=ids,
            attention_mask=mask,
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
        extraction = made(Path(name))
        extraction.policy.sample([[1, 2, 3]], torch.rand(1, 1, _TOKENS),
                                 extraction.config.alg.generation_kwargs)  # fmt: skip
        started = time.perf_counter()
        extraction.proceed()
        own = time.perf_counter() - started
        generating, scoring = predecessor(extraction)
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
