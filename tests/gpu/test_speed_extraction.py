"""Extraction of 64 x 10 samples of 20 tokens with GPT-2 124M (random weights) and ROUGE.

Against the predecessor's loop, ten passes of one sample per prompt and a metric object per sample,
and against the library's ``generate`` with ten sequences per prompt, without scores.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.benchmarks import text_extraction
from tests.benchmarks.timing import seconds_of
from tests.gpu.findings import Findings

pytestmark = pytest.mark.gpu


def test_extraction(device: torch.device, full: bool, findings: Findings, tmp_path: Path) -> None:
    sizes, count = ((12, 768, 12), 64) if full else ((2, 64, 4), 8)
    gpu_ids = (0,) if device.type == "cuda" else ()
    extraction = text_extraction.made(tmp_path, sizes, prompts=count, gpu_ids=gpu_ids)
    settings = extraction.config.alg.generation_kwargs
    prompts = extraction.policy.encode(extraction.inputs.prompts(), 32)
    extraction.policy.generate(prompts[:2], 1, settings)  # the first call of anything is slow
    own = seconds_of(extraction.proceed, device)
    predecessor = sum(text_extraction.predecessor(extraction))
    generated = seconds_of(lambda: extraction.policy.generate(prompts, 10, settings), device)
    name = f"extraction of {count} x 10 samples, scores and tables included"
    findings.speed(name, own, "the predecessor's loop", predecessor)
    findings.speed(name, own, "the library's generate alone", generated)
