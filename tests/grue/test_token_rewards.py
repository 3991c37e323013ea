"""Rewards of tokens: the characters that a token writes, and numbers in whatever form."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from grue.experiments.new_model.tokenizer import byte_pairs, words
from grue.metrics.metric import NoArgs
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.policies.post_processing import kept_by_three_sentences, three_sentences
from grue.policies.token_offsets import moved, token_offsets
from grue.rewards.custom import as_reward
from grue.rewards.reward import Reward, Rewards
from grue.texts import OutputTokens, Texts
from tests.grue.exact import worth
from tests.grue.judging import texts
from tests.grue.test_critic_free import IN_REWARD, drawn_exactly, small
from tests.grue.test_rollouts import SETTINGS, rollouts

MIXED = "the cät 漢字 😀!"


def with_bytes() -> PreTrainedTokenizerFast:
    """A tokenizer as Llama's: spaces are marks, and what it does not know is single bytes."""
    names = ["<unk>", "</s>", *(f"<0x{number:02X}>" for number in range(256)), "▁", "▁the", "c"]
    scored = [(name, -float(len(name))) for name in names]
    tokenizer = Tokenizer(models.Unigram(scored, 0, byte_fallback=True))
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
             decoders.Strip(" ", 1, 0)]  # fmt: skip
    tokenizer.decoder = decoders.Sequence(steps)
    tokenizer.add_special_tokens(["</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>", unk_token="<unk>")


def places(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> tuple[str, list[Any]]:
    """The text of tokens, and where they are in it; special tokens are left out."""

    def decode(ids: list[int]) -> str:
        (text,) = tokenizer.batch_decode(
            [ids], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text

    skipped = {number for number, of in tokenizer.added_tokens_decoder.items() if of.special}
    return decode(ids), token_offsets(ids, decode, skipped)


def test_offsets_of_bytes_are_the_characters_they_belong_to() -> None:
    """With one token per byte, a character's bytes are all its tokens."""
    tokenizer = byte_pairs(iter(["a"]), 257, 64)
    text, offsets = places(tokenizer, [*tokenizer(MIXED)["input_ids"], 0])
    assert text == MIXED
    expected = [(index, index + 1) for index, letter in enumerate(MIXED) for _ in letter.encode()]
    assert offsets == [*expected, (len(MIXED), len(MIXED))]


def test_a_token_may_end_and_begin_within_characters() -> None:
    names = ["x", "a" + "ð", "ŁĺĢ" + "b"]  # the bytes of a and F0; 9F 98 80 and b
    tokenizer = Tokenizer(models.BPE({name: row for row, name in enumerate(names)}, []))
    tokenizer.decoder = decoders.ByteLevel()
    found = places(PreTrainedTokenizerFast(tokenizer_object=tokenizer), [0, 1, 2, 0])
    assert found == ("xa😀bx", [(0, 1), (1, 3), (2, 4), (4, 5)])


@pytest.mark.parametrize("kind", ["byte pairs", "words", "bytes where needed"])
def test_tokens_write_the_text_between_their_offsets(kind: str) -> None:
    """Each character has a token, and special tokens have none."""
    tokenizer = {
        "byte pairs": lambda: byte_pairs(iter([MIXED] * 9), 300, 64),
        "words": lambda: words(iter([MIXED]), 9, 64),
        "bytes where needed": with_bytes,
    }[kind]()
    end: Any = tokenizer.eos_token_id
    ids = tokenizer.encode(" the cät c", add_special_tokens=False)
    text, offsets = places(tokenizer, [*ids[:1], end, *ids[1:], end])
    assert {index for place in offsets for index in range(*place)} == set(range(len(text)))
    assert offsets[1] == (offsets[0][1], offsets[0][1]) and offsets[-1] == (len(text), len(text))
    assert offsets == sorted(offsets)


@pytest.mark.parametrize("text", ["<0xF0><0x9F><0x98><0x80>c", "<0x63><0xF0>c", "<0x9F><0x63>"])
def test_single_bytes_that_are_no_text_have_places_too(text: str) -> None:
    tokenizer = with_bytes()
    ids: Any = tokenizer.convert_tokens_to_ids(
        text.replace("><", "> <").replace(">c", "> c").split()
    )
    whole, offsets = places(tokenizer, ids)
    assert offsets[-1][1] == len(whole) and offsets == sorted(offsets)
    if whole == "😀c":
        assert offsets == [(0, 1)] * 4 + [(1, 2)]


def test_a_text_that_its_tokens_do_not_add_up_to_is_refused() -> None:
    with pytest.raises(ValueError, match="is another than that of one after another"):
        token_offsets([1, 2, 3], lambda ids: "abc"[: len(ids)])


def test_what_post_processing_takes_out_has_no_place() -> None:
    text = ' A b."  C d! E.\n\nF g. H.'
    kept = kept_by_three_sentences(text)
    assert three_sentences(text) == "A b.\nC d!\nE."
    for start in range(len(text)):
        ((first, last),) = moved([(start, start + 1)], kept)
        assert three_sentences(text)[first:last] in (text[start], "\n", "")
    assert moved([(0, 3), (3, 8), (8, 9), (16, 20)], kept) == [(0, 2), (2, 5), (5, 6), (12, 12)]


def test_tokens_have_their_places_in_the_text_as_it_is_scored(causal_policy: Policy) -> None:
    cut = GenerationConfig.model_validate({"max_new_tokens": 9, "truncate_token": " cat"})
    ids: Any = causal_policy.tokenizer(" sat cat on the")["input_ids"]
    for settings, scored in ((GenerationConfig(), " sat cat on the"), (cut, " sat cat")):
        (text,) = causal_policy.scored_texts([[*ids, 0]], settings)
        (tokens,) = causal_policy.scored_tokens([[*ids, 0]], settings)
        assert text == scored and tokens.ids == [*ids, 0]
        assert "".join(text[start:end] for start, end in tokens.offsets) == text
        assert tokens.offsets[-1] == (len(text), len(text))
        assert len(tokens.offsets) == len(tokens.ids)


class Vowels(Reward[NoArgs]):
    """1 for each token with a vowel."""

    needs_tokens = True

    def __call__(self, texts: Texts) -> Rewards:
        assert texts.tokens is not None
        return vowels(texts.prompts, texts.outputs, None, None, texts.tokens)


def vowels(prompts: Any, outputs: Any, references: Any, metadata: Any, tokens: Any) -> Any:
    return [
        np.array([float(bool(set(output[start:end]) & set("aeiou"))) for start, end in of.offsets])
        for output, of in zip(outputs, tokens, strict=True)
    ]


@pytest.mark.parametrize("kind", [vowels, Vowels])
def test_a_process_reward_is_placed_on_the_right_tokens(kind: Any, causal_policy: Policy) -> None:
    collector = rollouts(causal_policy, SETTINGS)
    collector.reward = as_reward(kind)(NoArgs())
    rollout, statistics = collector.collect(2, 0.1)
    decoded = [causal_policy.decode([[token] for token in output]) for output in rollout.outputs]
    expected = [[float(bool(set(token) & set("aeiou"))) for token in of] for of in decoded]
    width = rollout.response_mask.shape[1]
    padded = [[*row, *[0.0] * (width - len(row))] for row in expected]
    assert rollout.task_rewards.tolist() == padded
    assert sum(map(sum, padded)) > 10 and len({len(row) for row in expected}) > 2
    mean = sum(map(sum, padded)) / len(padded)
    assert statistics["rollout_info/ep_rew"] == pytest.approx(mean)


def test_others_get_no_tokens(causal_policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Policy, "scored_tokens")
    rollouts(causal_policy, SETTINGS).collect(0, 0.1)


def test_a_parameter_in_another_place_is_refused() -> None:
    def swapped(prompts: Any, outputs: Any, tokens: Any, references: Any, metadata: Any) -> Any:
        return []

    with pytest.raises(UserError, match=r"write def swapped\(prompts, .*, metadata, tokens\)"):
        as_reward(swapped)


GIVEN = replace(
    texts(["a", "bb", "ccc"]),
    num_tokens=[2, 1, 3],
    tokens=[OutputTokens([5] * count, [(0, 1)] * count) for count in (2, 1, 3)],
)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([1, 2, 3], [1, 2, 3]),
        ([[1], [2], [3]], [1, 2, 3]),
        ([[1, 2], [3], [4, 5, 6]], [[1, 2, 0], [3, 0, 0], [4, 5, 6]]),
        ([np.ones(2), np.ones(1), np.ones(3)], [[1, 1, 0], [1, 0, 0], [1, 1, 1]]),
        ([[1, 2, 0, 0], [3], [4, 5, 6]], [[1, 2, 0, 0], [3, 0, 0, 0], [4, 5, 6, 0]]),
        (np.array([[1, 2, 0], [3, 0, 0], [4, 5, 6]]), [[1, 2, 0], [3, 0, 0], [4, 5, 6]]),
    ],
)
def test_numbers_of_tokens_in_whatever_form(answer: Any, expected: Any) -> None:
    def function(prompts: Any, outputs: Any, references: Any, metadata: Any) -> Any:
        return answer

    assert as_reward(function)(NoArgs())(GIVEN).tolist() == expected


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([[1], [2], [3, 4, 5]], "gave 1 numbers for prompt 'prompt 0', output 'a', which has 2 t"),
        ([[1, 2], [2], [3, 4]], "gave 2 numbers for prompt 'prompt 2', output 'ccc', which has 3"),
        ([[1, 2], [2, 9], [3, 4, 5]], "gave 2, not all zero after its end, .*'bb', which has 1 t"),
        ([[1, 2]] * 3, "gave 2, not all zero after its end, numbers for .*'bb', which has 1 token"),
        ([[1, 2], [2]], "returned 2 lists of numbers for 3 outputs"),
        ([[1, 2], 2, [3, 4, 5]], "gave no numbers"),
    ],
)
def test_wrong_numbers_of_tokens_are_told(answer: Any, message: str) -> None:
    def function(prompts: Any, outputs: Any, references: Any, metadata: Any) -> Any:
        return answer

    with pytest.raises(UserError, match=f"function' {message}"):
        as_reward(function)(NoArgs())(GIVEN)


# Credit of tokens in updates.


class Increments(Reward[NoArgs]):
    """What each token adds to what a text is worth, so that the sum is the worth of all."""

    needs_tokens = True

    def __call__(self, texts: Texts) -> Rewards:
        assert texts.tokens is not None
        return [  # type: ignore[return-value]  # as users may
            np.diff([worth(""), *(worth(output[:end]) for _, end in of.offsets)])
            for output, of in zip(texts.outputs, texts.tokens, strict=True)
        ]


@pytest.mark.parametrize(
    ("advantage", "factor"), [("none", 1.0), ("leave_one_out", 1.0), ("group", 0.5)]
)
def test_rewards_of_tokens_give_the_exact_gradient_of_their_sum(
    advantage: str, factor: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = {"num_samples_per_input": 2, "kl": IN_REWARD, "advantage": advantage}
    subject = drawn_exactly("rloo", monkeypatch, **args)
    subject.rollouts.reward = Increments(NoArgs())
    torch.testing.assert_close(subject.step(), factor * subject.expected(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("algorithm", ["reinforce_plus_plus", "rloo", "dr_grpo"])
def test_a_token_is_credited_with_what_comes_or_with_the_sum(algorithm: str) -> None:
    subject = small(algorithm, num_envs=8, kl={"coeff": 0.0}, advantage_scale="none")
    subject.rollouts.reward = Increments(NoArgs())
    rollout, _ = subject.rollouts.collect(0, 0.0)
    found: Any = subject.algorithm
    advantages = found._with_advantages(rollout).advantages
    mask, rewards = rollout.response_mask, rollout.task_rewards
    to_go = rewards.flip(1).cumsum(1).flip(1) * mask
    sums = rewards.sum(1).view(-1, 4)
    above_mean = (sums - sums.mean(1, keepdim=True)).view(-1, 1) * mask
    of_others = {"rloo": 4 / 3, "dr_grpo": 1.0}
    wanted = of_others[algorithm] * above_mean if algorithm in of_others else to_go
    torch.testing.assert_close(advantages, wanted, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(to_go, rewards.sum(1, keepdim=True) * mask)
