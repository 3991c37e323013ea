"""Log-probabilities of tokens: as they were drawn, in a padded batch, and of each row alone.

All three against each row alone in float64 on the CPU. Prompts and outputs have many lengths, so
that there is padding on the left and on the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from grue.policies.decoding import loop as decoding
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.policies.prompt_encoder import Tokens
from grue.random_streams import Occasion, uniforms
from tests.gpu import text
from tests.gpu.findings import Findings, largest

pytestmark = pytest.mark.gpu

_FACTOR = 10
"""Times the deviation of the CPU's float32 from float64 that another order of sums may bring."""
_LEAST = 2e-6
"""Nats that float32 deviates by in any case."""
_MOST = 1e-3
"""Nats that no float32 deviates by, whatever the CPU does."""
_SAMPLES, _TOKENS = 2, 9
_TEMPERATURE = 0.7


def _drawn(
    policy: Policy, prompts: Sequence[Tokens], monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Tokens], Tensor]:
    """K outputs of each prompt, and [N, T] what the distributions they were drawn from said."""
    logits: list[Tensor] = []
    draw = decoding.draw

    def noting(scores: Tensor, *rest: Any) -> Tensor:
        logits.append(scores.float().clone())
        return draw(scores, *rest)

    settings = GenerationConfig(do_sample=True, top_k=0, temperature=_TEMPERATURE,
                                max_new_tokens=_TOKENS, ignore_eos=True)  # fmt: skip
    uniform = uniforms(Occasion.SAMPLE, 0, range(len(prompts)), _SAMPLES, _TOKENS)
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "draw", noting)
        found = policy.sample(prompts, uniform, settings)
    outputs = [output for of_prompt in found for output in of_prompt]
    scaled = torch.stack(logits, 1).cpu() / _TEMPERATURE
    tokens = torch.tensor(outputs)[..., None]
    return outputs, scaled.log_softmax(-1).gather(-1, tokens).squeeze(-1)


@torch.no_grad()
def _in_double(policy: Policy, prompt: Tokens, output: Tokens) -> Tensor:
    """[T] of a row alone, in float64 on the CPU."""
    sequences = policy.sequences([prompt], [output])
    logits = sequences.logits(policy.model).double() / _TEMPERATURE
    return logits.log_softmax(-1).gather(-1, sequences.outputs.ids[..., None]).flatten()


@torch.no_grad()
def _deviations(
    policy: Policy, exact: Policy, prompts: Sequence[Tokens], monkeypatch: pytest.MonkeyPatch
) -> dict[str, float]:
    """Largest deviation from float64 in nats, by the way of finding log-probabilities."""
    repeated = [prompt for prompt in prompts for _ in range(_SAMPLES)]
    outputs, drawn = _drawn(policy, prompts, monkeypatch)
    lengths = [1 + 4 * row % _TOKENS for row in range(len(outputs))]
    cut = [output[:length] for output, length in zip(outputs, lengths, strict=True)]
    batch = policy.log_probs(repeated, cut, _TEMPERATURE).cpu()
    rows = list(zip(repeated, cut, strict=True))
    alone = [policy.log_probs([prompt], [output], _TEMPERATURE)[0].cpu() for prompt, output in rows]
    expected = [_in_double(exact, prompt, output) for prompt, output in rows]
    ways: dict[str, Sequence[Tensor]] = {"as drawn": list(drawn), "padded batch": list(batch),
                                         "row alone": alone}  # fmt: skip
    return {
        name: largest(float((found[: len(known)] - known).abs().max())
                      for found, known in zip(way, expected, strict=True))
        for name, way in ways.items()
    }  # fmt: skip


@pytest.mark.parametrize("kind", text.KINDS)
def test_three_ways(
    kind: str, device: torch.device, full: bool, findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, on_cpu = (text.policy_of(kind, where, full=full) for where in (device, "cpu"))
    exact = Policy(text.in_double(here.model), here.tokenizer)
    prompts = text.prompts_of(here, 24 if full else 7)
    limits = _deviations(on_cpu, exact, prompts, monkeypatch)
    for way, found in _deviations(here, exact, prompts, monkeypatch).items():
        findings.at_most(f"{kind}, {way}: deviation from float64 in nats", found,
                         min(max(_FACTOR * limits[way], _LEAST), _MOST))  # fmt: skip
