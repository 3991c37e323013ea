"""Policies: the library's outputs, and nothing that depends on how prompts are batched."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from common.errors import UserError
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy, by_length
from grue.random_streams import Occasion, uniforms

PROMPTS = ["the cat", "a dog runs in the park and", "numbers 1 2", "", "mat mat mat"]
SAMPLED = GenerationConfig(do_sample=True, top_k=0, max_new_tokens=8)


def _encode(policy: Policy) -> list[list[int]]:
    return policy.encode(PROMPTS, 20)


@pytest.mark.parametrize("min_length", [0, 5])
def test_most_probable_tokens_are_those_of_the_library(policy: Policy, min_length: int) -> None:
    settings = GenerationConfig(max_new_tokens=8, min_length=min_length)
    prompts = _encode(policy)
    own = policy.outputs(prompts, settings, inputs=range(5), seed=0)
    library = [found[0] for found in policy.generate(prompts, 1, settings)]
    assert own == library


def test_samples_do_not_depend_on_the_batch(policy: Policy) -> None:
    prompts = _encode(policy) * 40
    draws = uniforms(Occasion.SAMPLE, 0, range(len(prompts)), 5, 8)
    together = policy.sample(prompts, draws, SAMPLED)
    apart = []
    for start in range(0, len(prompts), 7):
        part = slice(start, start + 7)
        apart += policy.sample(prompts[part], draws[part], SAMPLED)
    pairs = [(a, b) for x, y in zip(together, apart, strict=True)
             for a, b in zip(x, y, strict=True)]  # fmt: skip
    assert sum(a == b for a, b in pairs) >= 0.999 * len(pairs)
    assert len({tuple(output) for output, _ in pairs}) > 100  # they do differ among each other


def test_an_input_has_the_same_stream_wherever_it_comes() -> None:
    both = uniforms(Occasion.SAMPLE, 3, [4, 9], 2, 6)
    assert torch.equal(uniforms(Occasion.SAMPLE, 3, [9], 2, 6)[0], both[1])
    assert torch.equal(uniforms(Occasion.SAMPLE, 3, [4], 1, 6)[0, 0], both[0, 0])
    assert not torch.equal(both[0], both[1])


def test_own_samples_and_the_librarys_have_the_distribution_of_the_model(
    causal_policy: Policy,
) -> None:
    """Two tokens after one prompt, three most probable tokens each: nine outputs or fewer."""
    policy = causal_policy
    settings = GenerationConfig(do_sample=True, top_k=3, temperature=1.3, max_new_tokens=2,
                                min_length=2)  # fmt: skip
    prompt = policy.encode(["the cat"], 20)
    expected: dict[tuple[int, ...], float] = {}
    for first, share in _best(policy, prompt[0], settings):
        for second, part in _best(policy, [*prompt[0], first], settings):
            expected[first, second] = share * part
    count = 4000
    draws = uniforms(Occasion.SAMPLE, 0, [0], count, 2)
    torch.manual_seed(0)
    for samples in (
        policy.sample(prompt, draws, settings)[0],
        policy.generate(prompt, count, settings)[0],
    ):
        found = Counter(map(tuple, samples))
        assert found.keys() <= expected.keys()
        chi_square = sum(
            (found[pair] - count * share) ** 2 / (count * share) for pair, share in expected.items()
        )
        assert chi_square < 26.1  # 8 degrees of freedom, p = 0.001


def _best(policy: Policy, tokens: list[int], settings: GenerationConfig) -> list[tuple[int, float]]:
    """The tokens that may come next, with their probabilities."""
    logits = policy.model(torch.tensor([tokens])).logits[0, -1].detach()
    logits[policy.ids.end] = -torch.inf
    best, ids = (logits / settings.temperature).topk(settings.top_k)
    return list(zip(ids.tolist(), best.softmax(-1).tolist(), strict=True))


def test_log_probabilities_are_those_of_the_steps(policy: Policy) -> None:
    prompts = _encode(policy)
    outputs = [[5, 9, 7], [8], [6, 6, 6, 6], [11, 12], [30, 3, 0]]
    found = policy.log_probs(prompts, outputs, temperature=0.7)
    assert found.shape == (5, 4)
    for row, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
        for step, token in enumerate(output):
            logits = _next_logits(policy, prompt, output[:step])
            expected = (logits / 0.7).log_softmax(-1)[token]
            torch.testing.assert_close(found[row, step], expected, rtol=1e-4, atol=1e-4)
        assert (found[row, len(output) :] == 0).all()


def _next_logits(policy: Policy, prompt: list[int], before: list[int]) -> torch.Tensor:
    if policy.is_encoder_decoder:
        start = torch.tensor([[policy.ids.start, *before]])
        return policy.model(torch.tensor([prompt]), decoder_input_ids=start).logits[0, -1]
    return policy.model(torch.tensor([prompt + before])).logits[0, -1]


def test_sampled_outputs_end_at_end_of_sequence_and_not_before_their_least_length(
    policy: Policy,
) -> None:
    prompts = _encode(policy) * 20
    draws = uniforms(Occasion.SAMPLE, 1, range(len(prompts)), 4, 8)
    settings = SAMPLED.model_copy(update={"min_length": 4, "temperature": 3.0})
    fewest = policy.lengths(settings).fewest
    outputs = [output for found in policy.sample(prompts, draws, settings) for output in found]
    ended = [output for output in outputs if output[-1] == policy.ids.end]
    assert ended and len(ended) < len(outputs)
    assert all(policy.ids.end not in output[:-1] for output in outputs)
    assert all(len(output) > fewest for output in ended)
    assert all(len(output) == 8 for output in outputs if output[-1] != policy.ids.end)


def test_settings_of_a_checkpoint_are_not_inherited(causal_policy: Policy) -> None:
    policy = causal_policy
    before = policy.model.generation_config.to_dict()
    prompt = policy.encode(["the cat"], 20)
    try:
        torch.manual_seed(0)
        plain = policy.generate(prompt, 20, SAMPLED)
        policy.model.generation_config.update(top_k=1, temperature=0.1, repetition_penalty=5.0)
        torch.manual_seed(0)
        assert policy.generate(prompt, 20, SAMPLED) == plain
    finally:
        policy.model.generation_config.update(**before)


def test_prompts_are_cut_on_their_side_and_an_empty_one_has_a_token(causal_policy: Policy) -> None:
    whole = causal_policy.encode(["a dog runs in the park"], 50)[0]
    assert causal_policy.encode(["a dog runs in the park"], 2, "left") == [whole[-2:]]
    assert causal_policy.encode(["a dog runs in the park"], 2, "right") == [whole[:2]]
    assert causal_policy.encode([""], 5) == [[causal_policy.tokenizer.bos_token_id]]


def test_a_causal_prompt_leaves_room_for_the_output(causal_policy: Policy) -> None:
    assert causal_policy.prompt_limit(None, 10) == 54
    assert causal_policy.prompt_limit(12, 10) == 12
    with pytest.raises(UserError, match=r"'max_new_tokens' = 64: .*64 positions; lower it"):
        causal_policy.prompt_limit(12, 64)


def test_batches_by_length_hold_each_input_once_and_little_padding() -> None:
    lengths = [1 + (7 * i) % 50 for i in range(203)]
    batches = list(by_length(lengths, 16))
    assert sorted(row for batch in batches for row in batch) == list(range(203))
    positions = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert 1 - sum(lengths) / positions < 0.1
