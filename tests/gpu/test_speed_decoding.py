"""Tokens per second of the own sampler, against the library's and against reading the weights.

Each token needs all weights once; no decoding is faster than the device reads them. The cache of
keys and values comes on top and is not counted. The library's ``generate`` samples as many outputs
of the same prompts and lengths.
"""

from __future__ import annotations

import pytest
import torch

from grue.generation_config import GenerationConfig
from grue.model_config import MixedPrecision
from grue.policies.streams import uniforms
from tests.benchmarks.text_models import random_gpt2
from tests.benchmarks.timing import medians_in_turns
from tests.gpu.findings import Findings
from tests.gpu.peaks import bandwidth

pytestmark = pytest.mark.gpu

_BYTES = {"no": 4, "bf16": 2}
_NAMES = {"no": "float32", "bf16": "bf16"}


@pytest.fixture(scope="module")
def per_second(device: torch.device, full: bool) -> float:
    """Bytes that the device reads and writes."""
    return bandwidth(device, 2**30 if full else 2**24)


def test_bandwidth(per_second: float, findings: Findings) -> None:
    findings.number("bandwidth of a copy on the device", per_second / 1e9, "GB/s")


@pytest.mark.parametrize("num_samples", [1, 10])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_sampling(
    precision: MixedPrecision, num_samples: int, device: torch.device, full: bool,
    per_second: float, findings: Findings,
) -> None:  # fmt: skip
    num_prompts, num_tokens, rounds = (64, 48, 2) if full else (4, 6, 2)
    policy = random_gpt2(*((12, 768, 12) if full else (1, 32, 2)), device=device)
    policy.mixed_precision = precision
    prompts = [list(range(1, 17 + row % 48)) for row in range(num_prompts)]
    settings = GenerationConfig(do_sample=True, top_k=0, max_new_tokens=num_tokens, ignore_eos=True)
    draws = uniforms(0, range(num_prompts), num_samples, num_tokens)
    ways = {
        "own": lambda: policy.sample(prompts, draws, settings),
        "library": lambda: policy.generate(prompts, num_samples, settings),
    }
    lengths = {name: {len(output) for of in way() for output in of} for name, way in ways.items()}
    findings.equal("lengths of outputs, own and the library's", list(lengths.values()),
                   2 * [{num_tokens}])  # fmt: skip
    seconds = medians_in_turns(ways, rounds, device)

    drawn = num_prompts * num_samples * num_tokens
    name = f"{num_prompts} x {num_samples} outputs of {num_tokens} tokens, {_NAMES[precision]}"
    findings.speed(name, seconds["own"], "the library's generate", seconds["library"])
    weights = sum(weight.numel() for weight in policy.model.parameters())
    least = num_tokens * weights * _BYTES[precision] / per_second
    findings.speed(name, seconds["own"], "reading the weights once per token", least)
    for way, of_way in seconds.items():
        findings.number(f"{name}: {way}", drawn / of_way, "tokens/s")
