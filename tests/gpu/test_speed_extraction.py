"""Seconds to draw K samples of each input: an extraction against the library's ``generate``.

The extraction's time has its tables and its measure, the length, too. The library draws with
``num_return_sequences``, which reads each prompt K times, or as the predecessor did: in K passes of
one sample, all prompts filled up to one length. What it draws is decoded to texts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from common.experiment import Context
from common.run_folder import RunFolder
from grue.extract import Extraction
from tests.benchmarks import text_extraction
from tests.benchmarks.text_models import random_model
from tests.benchmarks.timing import medians_in_turns
from tests.gpu import text
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu


def test_extraction(device: torch.device, full: bool, findings: Findings, tmp_path: Path) -> None:
    num_prompts, num_samples, num_tokens, rounds = (64, 10, 20, 3) if full else (6, 3, 5, 2)
    model = random_model(*((12, 768, 12) if full else (1, 32, 2)))
    text_extraction.write(tmp_path, model, num_prompts)
    config = text_extraction.configuration(
        tmp_path, num_samples, num_tokens, metric="length", batch_size=num_prompts
    )
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    extraction = Extraction(config, Context(folder, 0, text.gpu_ids(device)))
    policy, inputs = extraction.policy, extraction.inputs
    settings = config.alg.generation_kwargs
    limit = config.tokenizer.max_length
    assert limit is not None
    prompts = policy.encode(inputs.prompts(), limit)
    padded = [[0] * (limit - len(prompt)) + prompt for prompt in prompts]

    def at_once() -> None:
        for outputs in policy.generate(prompts, num_samples, settings):
            policy.decode(outputs)

    def in_passes() -> None:
        for _ in range(num_samples):
            policy.decode([outputs[0] for outputs in policy.generate(padded, 1, settings)])

    ways: dict[str, Callable[[], Any]] = {
        "own": extraction.run, "one pass": at_once, "passes": in_passes
    }  # fmt: skip
    seconds = medians_in_turns(ways, rounds, device)
    samples = pd.read_parquet(folder.table("samples"))
    findings.equal("samples of the extraction", len(samples), num_prompts * num_samples)
    findings.equal("their lengths", set(samples["num_tokens"]), {num_tokens})
    name = f"extraction of {num_prompts} x {num_samples} samples of {num_tokens} tokens"
    findings.speed(name, seconds["own"], "generate with num_return_sequences", seconds["one pass"])
    findings.speed(name, seconds["own"], f"{num_samples} passes of generate", seconds["passes"])
