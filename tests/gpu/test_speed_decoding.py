"""Decoding with GPT-2 124M (random weights): tokens per second.

Against the library's ``generate`` with the same lengths, which take turns, and against what the
memory's bandwidth allows where each step reads all weights once.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from tests.benchmarks.text_models import random_gpt2
from tests.benchmarks.timing import medians_in_turns
from tests.gpu.findings import Findings
from tests.gpu.peaks import bandwidth

pytestmark = pytest.mark.gpu

_PROMPTS, _PROMPT_TOKENS = 64, 32


@pytest.fixture(scope="module")
def policy(device: torch.device, full: bool) -> Policy:
    """GPT-2 with random weights: the published small one on a GPU."""
    return random_gpt2(12, 768, 12, device) if full else random_gpt2(2, 64, 4, device)


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("samples", [1, 10])
def test_tokens_per_second(
    samples: int, precision: Any, policy: Policy, device: torch.device, full: bool,
    findings: Findings,
) -> None:  # fmt: skip
    count, tokens = (_PROMPTS, 48) if full else (4, 8)
    policy.mixed_precision = precision
    settings = GenerationConfig(do_sample=True, top_k=0, min_length=tokens, max_new_tokens=tokens)
    prompts = [list(range(1, 1 + _PROMPT_TOKENS)) for _ in range(count)]
    draws = torch.rand(count, samples, tokens, dtype=torch.float64)
    seconds = medians_in_turns(
        {
            "own": lambda: policy.sample(prompts, draws, settings),
            "library": lambda: policy.generate(prompts, samples, settings),
        },
        rounds=3 if full else 2,
        device=device,
    )
    name = f"{count} x {samples} outputs of {tokens} tokens, " + (
        "float32" if precision == "no" else precision
    )
    findings.speed(f"decoding {name}", seconds["own"], "the library's generate",
                   seconds["library"])  # fmt: skip
    findings.number(f"decoding {name}", count * samples * tokens / seconds["own"], "tokens/s")
    # Under autocast weights are read in float32 and written in the half type, once per block.
    weights = sum(p.numel() * p.element_size() for p in policy.model.parameters())
    least = tokens * weights / bandwidth(device)
    findings.speed(f"decoding {name}", seconds["own"], "reading all weights once per token", least)
