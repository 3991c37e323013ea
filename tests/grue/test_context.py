"""What a policy reads around a query: tokens found apart, and padding that changes nothing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from grue.policies.generation_config import GenerationConfig
from grue.policies.padding import pad, positions
from grue.policies.policy import Policy
from tests.grue.conftest import causal_model

PAD = 250
PREFIX, SUFFIX = [11, 12, 13], [21, 22]


def surrounded(policy: Policy, prefix: str, suffix: str) -> Policy:
    found = Policy(policy.model, copy.deepcopy(policy.tokenizer))
    found.prefix, found.suffix = prefix, suffix
    return found


def _read(policy: Policy, ids: Tensor, mask: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = policy.model(
            input_ids=ids, attention_mask=mask, position_ids=positions(mask)
        ).logits
    return found


def test_padding_within_a_context_equals_padding_on_its_left(causal_policy: Policy) -> None:
    """The published context is prefix, query filled up on its right, suffix.

    There padded places are hidden from attention, and the position of a token is the number of real
    ones before it. Its logits are those of the context without padding, and of this project's,
    which is filled up on the left.
    """
    queries, width = [[31, 32, 33, 34, 35], [41, 42], [51]], 5
    middle = torch.tensor(
        [[*PREFIX, *query, *[PAD] * (width - len(query)), *SUFFIX] for query in queries]
    )
    real = (middle != PAD).long()
    assert positions(real)[2].tolist() == [0, 1, 2, 3, 3, 3, 3, 3, 4, 5]
    of_middle = _read(causal_policy, middle, real)
    contexts = [[*PREFIX, *query, *SUFFIX] for query in queries]
    left = pad(contexts, fill=PAD, left=True, device="cpu")
    of_left = _read(causal_policy, left.ids, left.mask)
    for row, context in enumerate(contexts):
        alone = torch.tensor([context])
        expected = _read(causal_policy, alone, torch.ones_like(alone))[0]
        for found, mask in ((of_middle, real), (of_left, left.mask)):
            torch.testing.assert_close(found[row][mask[row].bool()], expected, rtol=0, atol=1e-4)
    plain = torch.arange(middle.shape[1]).expand_as(middle)
    with torch.no_grad():
        wrong = causal_policy.model(
            input_ids=middle, attention_mask=real, position_ids=plain
        ).logits
    assert (wrong[2, -1] - of_middle[2, -1]).abs().max() > 0.1  # plain positions do change it


def test_texts_around_a_query_are_tokenised_apart_from_it(
    tokenizer: PreTrainedTokenizerFast, causal_policy: Policy
) -> None:
    """As one text, "c" and "at" would be the token "cat"."""
    tokens = [tokenizer(text)["input_ids"] for text in (" the c", "at on", " mat")]
    policy = surrounded(causal_policy, " the c", " mat")
    assert policy.encode(["at on"], 60) == [[*tokens[0], *tokens[1], *tokens[2]]]
    assert causal_policy.encode([" the cat on mat"], 60) != policy.encode(["at on"], 60)
    room = len(tokens[0]) + len(tokens[2]) + 1
    assert policy.encode(["at on"], room) == [tokens[0] + tokens[1][-1:] + tokens[2]]
    assert policy.encode(["at on"], room, "right") == [tokens[0] + tokens[1][:1] + tokens[2]]
    assert policy.encode([""], 60) == [tokens[0] + tokens[2]]
    with pytest.raises(UserError, match=rf"' = {room - 1}: 'query_prefix' .* {room - 1} tokens"):
        policy.encode(["at on"], room - 1)


def test_what_begins_every_text_comes_before_the_prefix(
    tokenizer: PreTrainedTokenizerFast, causal_policy: Policy
) -> None:
    from tokenizers.processors import TemplateProcessing

    policy = surrounded(causal_policy, "the", "on")
    backend = copy.deepcopy(tokenizer)
    end = backend.eos_token
    backend.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{end} $A", special_tokens=[(end, backend.eos_token_id)]
    )
    policy.tokenizer = backend
    (found,) = policy.encode([" cat"], 60)
    parts = [tokenizer(text)["input_ids"] for text in ("the", " cat", "on")]
    assert found == [backend.eos_token_id, *parts[0], *parts[1], *parts[2]]


@pytest.mark.parametrize("library", [False, True])
def test_end_of_sequence_does_not_stop_outputs_of_fixed_length(
    tokenizer: PreTrainedTokenizerFast, library: bool
) -> None:
    model = causal_model(len(tokenizer))
    model.config.eos_token_id = 0
    policy = Policy(model, tokenizer)
    prompts = policy.encode(["the cat", "a dog runs in the park"], 20) * 100
    usual = GenerationConfig(do_sample=True, top_k=0, max_new_tokens=8)
    fixed = usual.model_copy(update={"ignore_eos": True})
    lengths = []
    for settings in (usual, fixed):
        if library:
            torch.manual_seed(0)
            outputs = [found[0] for found in policy.generate(prompts, 1, settings)]
        else:
            outputs = policy.outputs(prompts, settings, inputs=range(len(prompts)), seed=0)
        lengths.append({len(output) for output in outputs})
    assert len(lengths[0]) > 1
    assert lengths[1] == {8}
    assert any(policy.ids.end in output[:-1] for output in outputs)
