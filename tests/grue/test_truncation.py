"""Truncation of token ids: the published golden cases, and tokens given as text."""

from __future__ import annotations

import pytest
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.policies.truncation import Truncation, token_id

PERIOD = Truncation(13, after=2)


@pytest.mark.parametrize(
    ("tokens", "kept", "met"),
    [
        ([13, 5, 7, 13, 9, 13], [13, 5, 7, 13], True),
        ([13, 13, 5, 6], [13, 13, 5, 6], False),
        ([1, 2, 13], [1, 2, 13], True),
        ([1, 2], [1, 2], False),
        ([], [], False),
    ],
)
def test_the_first_token_from_an_index_on_is_the_last(
    tokens: list[int], kept: list[int], met: bool
) -> None:
    assert PERIOD(tokens) == kept
    assert PERIOD.is_met(tokens) is met


def test_a_token_may_be_given_as_text(tokenizer: PreTrainedTokenizerFast) -> None:
    (cat,) = tokenizer(" cat", add_special_tokens=False)["input_ids"]
    assert token_id(tokenizer, " cat") == token_id(tokenizer, cat) == cat
    with pytest.raises(
        ValueError, match=r"is \d+ tokens \[.*\] of the tokenizer; name one of them"
    ):
        token_id(tokenizer, "zebra zebra")
    with pytest.raises(ValueError, match="the vocabulary has the ids 0 to"):
        token_id(tokenizer, len(tokenizer))


def test_judges_see_no_more_than_the_truncated_text(causal_policy: Policy) -> None:
    """Ids are cut, not text: a token that only looks like the end in a text does not count."""
    (cat, sat) = causal_policy.tokenizer(" cat sat")["input_ids"]
    settings = GenerationConfig(max_new_tokens=9, truncate_token=" cat", truncate_after=1)
    outputs = [[cat, sat, cat, sat], [cat, sat]]
    assert causal_policy.scored_texts(outputs, settings) == [" cat sat cat", " cat sat"]
    assert causal_policy.scored_texts(outputs, GenerationConfig()) == causal_policy.decode(outputs)
    wrong = settings.model_copy(update={"truncate_token": "no such token"})
    with pytest.raises(UserError, match=r"truncate_token' = 'no such token': is \d+ tokens"):
        causal_policy.scored_texts(outputs, wrong)
