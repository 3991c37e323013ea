"""Passes that fit in a device's memory: estimated, halved when one does not, with equal outputs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from grue.policies.decoding.batch_size import Extent, Passes, bytes_per_output, free_bytes
from grue.policies.decoding.steps import Ids, steps_of
from grue.policies.generation_config import GenerationConfig
from grue.policies.padding import pad
from grue.policies.policy import Policy
from grue.policies.vocabulary_mask import Mask
from grue.random_streams import Occasion, uniforms
from tests.grue.conftest import causal_model, encoder_decoder
from tests.grue.test_decoding import MaskArgs

GPU = torch.device("cuda")
DRAWN = GenerationConfig(do_sample=True, top_k=0, max_new_tokens=6)


class Grid:
    """Work whose passes fail above so many outputs, as a device's memory does."""

    def __init__(self, most: int, num_samples: int) -> None:
        self.most = most
        self.num_samples = num_samples
        self.tried: list[int] = []

    def __call__(self, prompts: slice, samples: slice) -> list[int]:
        outputs = [
            prompt * self.num_samples + sample
            for prompt in range(prompts.start, prompts.stop)
            for sample in range(samples.start, samples.stop)
        ]
        self.tried.append(len(outputs))
        if len(outputs) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return outputs


def gpu_with(monkeypatch: pytest.MonkeyPatch, *, free: int, reserved: int, allocated: int) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free, 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: allocated)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


@pytest.mark.parametrize("most", [1, 3, 7, 20, 100])
@pytest.mark.parametrize(("num_prompts", "num_samples"), [(1, 1), (5, 4), (7, 1), (1, 9)])
def test_every_output_is_made_once_and_in_its_order(
    most: int, num_prompts: int, num_samples: int
) -> None:
    grid = Grid(most, num_samples)
    found = Passes(torch.device("cpu")).run(num_prompts, num_samples, grid, bytes_each=1)
    assert [output for part in found for output in part] == list(range(num_prompts * num_samples))


def test_a_smaller_size_is_kept_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    passes, grid = Passes(torch.device("cpu")), Grid(5, 4)
    passes.run(8, 4, grid, bytes_each=1)
    assert grid.tried[:4] == [32, 16, 8, 4]
    again = Grid(5, 4)
    passes.run(8, 4, again, bytes_each=1)
    assert again.tried == [4] * 8
    (said,) = caplog.records
    assert said.levelno == logging.WARNING
    assert "32 outputs at once do not fit" in said.message and "eval_batch_size" in said.message


def test_samples_of_a_prompt_part_only_where_they_are_too_many_alone() -> None:
    parts = []
    passes = Passes(torch.device("cpu"))
    passes.run(3, 4, Grid(4, 4), bytes_each=1)
    passes.run(3, 4, lambda *part: parts.append(part), bytes_each=1)
    assert all(samples == slice(0, 4) for _, samples in parts)
    passes.run(2, 4, Grid(3, 4), bytes_each=1)
    parts.clear()
    passes.run(2, 4, lambda *part: parts.append(part), bytes_each=1)
    assert parts == [(slice(p, p + 1), slice(s, s + 2)) for p in (0, 1) for s in (0, 2)]


def test_a_single_output_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        Passes(torch.device("cpu")).run(2, 2, Grid(0, 2), bytes_each=1)


def test_passes_are_as_large_as_the_free_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu_with(monkeypatch, free=600, reserved=700, allocated=300)  # 1000 can be had, 700 are taken
    for bytes_each, expected in ((10, [64]), (11, [32, 32]), (70, [8] * 8), (10**6, [1] * 64)):
        grid = Grid(10**6, 4)
        Passes(GPU).run(16, 4, grid, bytes_each=bytes_each)
        assert grid.tried == expected
    grid = Grid(10**6, 4)
    Passes(GPU).run(16, 4, grid, bytes_each=0)  # of a model that does not say how large it is
    assert grid.tried == [64]


def test_free_memory_is_asked_of_a_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert free_bytes(torch.device("cpu")) == torch.inf
    gpu_with(monkeypatch, free=5, reserved=9, allocated=2)
    assert free_bytes(GPU) == 12


@pytest.mark.parametrize("kind", ["gpt2", "llama", "t5", "bart"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_estimate_holds_the_cache(kind: str, dtype: torch.dtype) -> None:
    """The models' layers have caches of these sizes, of which samples share cross-attention's."""
    if kind == "gpt2":
        model: Any = causal_model(50)
    elif kind == "llama":
        model = LlamaForCausalLM(
            LlamaConfig(vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=3,
                        num_attention_heads=4, num_key_value_heads=2, head_dim=16)
        )  # fmt: skip
    else:
        model = encoder_decoder(kind, 50)
    model = model.to(dtype).eval()
    encoded, num_samples, length = model.config.is_encoder_decoder, 5, 20
    walked = steps_of(
        model, pad([[1] * length] * 2, fill=0, left=not encoded, device="cpu"), Ids(None, start=0)
    )
    with torch.no_grad():
        walked.first()
        walked.repeat(num_samples)
        walked.next(torch.zeros(2 * num_samples, dtype=torch.long))

    def held(cache: Any) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)

    cache = walked._cache
    own = held(cache.self_attention_cache if encoded else cache) / (2 * num_samples)
    per_token = own / (2 if encoded else length + 1)

    def estimate(prompt: int, output: int, num_samples: int = num_samples) -> float:
        return bytes_per_output(model, Extent(prompt, output, num_samples))

    assert estimate(length, 8) - estimate(length, 7) == pytest.approx(per_token)
    shared = held(cache.cross_attention_cache) / (2 * num_samples) if encoded else 0
    assert estimate(length, 1) > own * (1 if encoded else length / (length + 1)) + shared
    assert estimate(length, 1, 1) > estimate(length, 1)  # what is once per prompt


def test_a_model_that_does_not_say_how_large_it_is_has_no_estimate() -> None:
    config = SimpleNamespace(get_text_config=SimpleNamespace)
    assert bytes_per_output(SimpleNamespace(config=config), Extent(10, 10, 1)) == 0


@contextlib.contextmanager
def memory_for(policy: Policy, most: int) -> Iterator[list[int]]:
    """The policy's passes fail above so many outputs; gives the sizes of those that failed."""
    failed = []

    def check(_: Any, args: Any, given: dict[str, Any]) -> None:
        read = given.get("decoder_input_ids")
        size = len(given["input_ids"] if read is None else read)
        if size > most:
            failed.append(size)
            raise torch.OutOfMemoryError("CUDA out of memory")

    hook = policy.model.register_forward_pre_hook(check, with_kwargs=True)
    try:
        yield failed
    finally:
        hook.remove()


@pytest.mark.parametrize("most", [6, 4, 2])  # of 4 prompts with 3 samples each
@pytest.mark.parametrize("masked", [False, True])
def test_outputs_do_not_depend_on_the_passes(policy: Policy, masked: bool, most: int) -> None:
    own = Policy(policy.model, policy.tokenizer)
    if masked:
        own.mask = Mask(own.model, MaskArgs(), [0])  # type: ignore[arg-type]
    prompts = own.encode(["the cat", "a dog runs in the park and", "numbers 1 2", ""], 20)
    draws = uniforms(Occasion.SAMPLE, 0, range(4), 3, 6)
    expected = own.masked_sample(prompts, draws, DRAWN)
    with memory_for(own, most) as failed:
        found = own.masked_sample(prompts, draws, DRAWN)
        assert failed
        failed.clear()
        assert own.sample(prompts, draws, DRAWN) == expected.outputs
        assert not failed
    assert found.outputs == expected.outputs
    if masked:
        assert torch.equal(found.allowed, expected.allowed)  # type: ignore[arg-type]


def test_beams_are_searched_in_passes_and_drawn_ones_are_not(policy: Policy) -> None:
    own = Policy(policy.model, policy.tokenizer)
    prompts = own.encode(["the cat", "a dog runs in the park and", "numbers 1 2", ""], 20)
    beams = GenerationConfig(num_beams=3, max_new_tokens=5)
    expected = own.generate(prompts, 2, beams)
    with memory_for(own, 6) as failed:
        assert own.generate(prompts, 2, beams) == expected
        assert failed == [12]
        with pytest.raises(torch.OutOfMemoryError):
            own.generate(prompts, 2, beams.model_copy(update={"do_sample": True}))
    assert all(len(found) == 2 for found in expected)
