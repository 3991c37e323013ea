"""The host does not wait for the GPU at each token of decoding, nor often in an update.

Between two looks at which outputs have ended, every 16 tokens, a wait is an error. Before and after
them there are the ways of prompts to the device and of outputs back, which are left out there.
"""

from __future__ import annotations

import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from grue.policies.config import MaskablePolicyArgs
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.policies.vocabulary_mask import Mask
from grue.random_streams import Occasion, uniforms
from tests.gpu import text
from tests.gpu.findings import Findings
from tests.gpu.waits import no_waits, waits_of
from tests.grue.test_reinforcement import MASKED

pytestmark = pytest.mark.gpu

_BETWEEN_LOOKS = 16
_ALLOWED = 4
"""Of decoding: prompts and uniforms to the device, outputs back, and one more."""
_PER_MINIBATCH = 2
_PROMPTS, _SAMPLES = 12, 3
_SETTINGS: dict[str, dict[str, Any]] = {
    "sampled": {"do_sample": True, "top_k": 0},
    "top-k": {"do_sample": True, "top_k": 5},
    "top-p": {"do_sample": True, "top_k": 0, "top_p": 0.9},
    "most probable": {},
    "masked": {"do_sample": True, "top_k": 0},
}


@pytest.fixture(autouse=True)
def _on_cuda(device: torch.device) -> None:
    if device.type != "cuda":
        pytest.skip("torch tells of waits for a CUDA device alone; the tests' pretended GPU counts")


def _policy(kind: str, way: str, device: torch.device) -> Policy:
    policy = text.policy_of(kind, device, full=False)
    if way == "masked":
        keys = {"model_name": "m", "mask_type": "learned_top_p", "top_mask": 0.9,
                "min_tokens_to_keep": 3}  # fmt: skip
        args = MaskablePolicyArgs.model_validate(keys)
        policy.mask = Mask(policy.model, args, policy.tokenizer.all_special_ids)
    return policy


def _note(findings: Findings, name: str, waits: Counter[str]) -> None:
    for place, count in waits.most_common(8):
        findings.number(f"{name}: waits at {place}", count, "")


@pytest.mark.parametrize("way", _SETTINGS)
@pytest.mark.parametrize("kind", text.KINDS)
def test_steps_of_decoding(
    kind: str, way: str, device: torch.device, findings: Findings, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = _policy(kind, way, device)
    prompts = text.prompts_of(policy, _PROMPTS)
    settings = GenerationConfig(max_new_tokens=_BETWEEN_LOOKS - 1, **_SETTINGS[way])
    draws = uniforms(Occasion.SAMPLE, 0, range(_PROMPTS), _SAMPLES, _BETWEEN_LOOKS - 1).to(device)
    padded = policy.pad(prompts)
    expected = policy.sample(prompts, draws, settings)

    to_list = torch.Tensor.tolist

    def outputs_back(tensor: torch.Tensor) -> Any:
        torch.cuda.set_sync_debug_mode("default")
        try:
            return to_list(tensor)
        finally:
            torch.cuda.set_sync_debug_mode("error")

    monkeypatch.setattr(policy, "pad", lambda _: padded)
    monkeypatch.setattr(torch.Tensor, "tolist", outputs_back)
    waits, found = "none", None
    try:
        with no_waits():
            found = policy.sample(prompts, draws, settings)
    except RuntimeError as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        waits = f"{Path(place.filename).name}:{place.lineno}: {str(error).partition(chr(10))[0]}"
    findings.equal(f"{kind}, {way}: waits in {_BETWEEN_LOOKS - 1} tokens", waits, "none")
    if found is not None:
        findings.equal(f"{kind}, {way}: outputs as with waits", found == expected, True)


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_looks(kind: str, device: torch.device, findings: Findings) -> None:
    most = 3 * _BETWEEN_LOOKS
    policy = _policy(kind, "sampled", device)
    prompts = text.prompts_of(policy, _PROMPTS)
    settings = GenerationConfig(do_sample=True, top_k=0, min_length=most, max_new_tokens=most)
    draws = uniforms(Occasion.SAMPLE, 0, range(_PROMPTS), _SAMPLES, most)
    policy.sample(prompts, draws, settings)
    waits = waits_of(lambda: policy.sample(prompts, draws, settings))
    _note(findings, kind, waits)
    findings.at_most(f"{kind}: waits in {most} tokens, all counted", waits.total(),
                     most / _BETWEEN_LOOKS + _ALLOWED)  # fmt: skip


@pytest.mark.parametrize("algorithm", ["ppo", "nlpo", "a2c", "reinforce"])
def test_iteration(
    algorithm: str, device: torch.device, findings: Findings, tmp_path: Path
) -> None:
    model = text.save(tmp_path / "model", "gpt2", full=False)
    run = text.run_on(device, tmp_path / "run", model, algorithm, env__n_envs=32,
                      **(MASKED if algorithm == "nlpo" else {}))  # fmt: skip
    text.update(run, run.rollouts.collect(0, text.COEFFICIENT)[0])
    steps: list[None] = []
    step = run.algorithm.step

    def counted(max_grad_norm: float | None) -> torch.Tensor:
        steps.append(None)
        return step(max_grad_norm)

    run.algorithm.step = counted  # type: ignore[method-assign]
    rollouts: list[Any] = []
    collecting = waits_of(lambda: rollouts.append(run.rollouts.collect(1, text.COEFFICIENT)[0]))
    generator = torch.Generator().manual_seed(0)
    with run.actor_critic.updating():
        updating = waits_of(lambda: run.algorithm.update(rollouts[0], text.COEFFICIENT, generator))
    _note(findings, f"{algorithm}, collecting", collecting)
    _note(findings, f"{algorithm}, updating", updating)
    findings.number(f"{algorithm}: waits in collecting {len(rollouts[0])} outputs",
                    collecting.total(), "")  # fmt: skip
    findings.at_most(f"{algorithm}: waits in an update of {len(steps)} minibatches",
                     updating.total(), _PER_MINIBATCH * len(steps) + _ALLOWED)  # fmt: skip
