"""Decoding: looks now and then, one cross-attention cache per prompt, masks nobody asks for."""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    LlamaConfig,
    MistralConfig,
)

from common.training import attention_masks
from common.training.attention_masks import masks_without_waits
from grue.models import attention
from grue.policies.decoding import loop as decoding
from grue.policies.decoding import steps
from grue.policies.decoding.steps import Ids, Rows, rows_left, shares_prompts, steps_of
from grue.policies.generation_config import GenerationConfig
from grue.policies.padding import pad
from grue.policies.policy import Policy
from grue.policies.sequences import Sequences
from grue.policies.vocabulary_mask import Mask
from grue.random_streams import Occasion, uniforms
from tests.grue.conftest import causal_model, encoder_decoder
from tests.tools import imported

VOCABULARY = 50
PROMPTS = [[5, 6, 7, 8, 9, 10], [11], [12, 13, 14]]
OUTPUTS = [[20, 21, 22], [23], [24, 25, 26]]
KINDS = ["gpt2", "llama", "mistral", "t5", "bart"]
DRAWN = GenerationConfig(do_sample=True, top_k=0, temperature=3.0, max_new_tokens=37)


@dataclass(frozen=True)
class MaskArgs:
    """The keys of a policy with a mask."""

    mask_type: str = "learned_top_p"
    top_mask: float = 0.9
    min_tokens_to_keep: int = 3


def tiny(kind: str, implementation: str = "sdpa") -> Any:
    """A model whose logits are far from equal."""
    sizes = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "initializer_range": 0.4,
    }  # fmt: skip
    torch.manual_seed(0)
    if kind == "llama":
        config: Any = LlamaConfig(**sizes)
    elif kind == "mistral":
        config = MistralConfig(**sizes, sliding_window=4)
    else:
        config = (causal_model(VOCABULARY) if kind == "gpt2" else
                  encoder_decoder(kind, VOCABULARY)).config  # fmt: skip
    auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    return auto.from_config(config, attn_implementation=implementation).eval()


def with_adapters(model: Any) -> Any:
    """The model in the wrapper of adapters that are not zero."""
    peft = imported("peft")
    task = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    names = {"gpt2": "c_attn", "t5": "q"}
    target = names.get(model.config.model_type, "q_proj")
    lora = peft.LoraConfig(r=2, target_modules=[target], task_type=task, init_lora_weights=False,
                           fan_in_fan_out=target == "c_attn")  # fmt: skip
    return peft.get_peft_model(model, lora).eval()


def padded(model: Any, rows: list[list[int]] = PROMPTS, device: str = "cpu") -> Any:
    return pad(rows, fill=0, left=not model.config.is_encoder_decoder, device=device)


def sequences_of(model: Any, device: str = "cpu") -> Sequences:
    start = 0 if model.config.is_encoder_decoder else None
    return Sequences(padded(model, device=device), pad(OUTPUTS, fill=0, left=False, device=device),
                     start)  # fmt: skip


def walk(model: Any, device: str = "cpu", prompts: list[list[int]] = PROMPTS) -> list[Tensor]:
    """Logits of some steps of two samples of each prompt, some of which end on the way."""
    walked = steps_of(model, padded(model, prompts, device), Ids(end=None, start=0))
    found = [walked.first()]
    walked.repeat(2)
    token = torch.arange(6, device=device)
    found += [walked.next(token + 20), walked.next(token + 30)]
    for outputs, of_prompts in (([0, 1, 3, 4], [0, 1, 2]), ([1, 4], [0, 2]), ([4], [2])):
        kept = (torch.tensor(numbers, device=device) for numbers in (outputs, of_prompts))
        walked.keep(Rows(*kept))
        found.append(walked.next(torch.tensor(outputs, device=device) + 40))
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"top_k": 7},
        {"top_p": 0.8},
        {"min_length": 9},
        {"ignore_eos": True},
        {"do_sample": False},
        {"max_new_tokens": 16},
    ],
    ids=str,
)
@pytest.mark.parametrize("masked", [False, True])
def test_outputs_do_not_depend_on_how_often_is_looked(
    policy: Policy, changes: dict[str, Any], masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Policy(copy.deepcopy(policy.model), policy.tokenizer)
    if masked:
        own.mask = Mask(own.model, MaskArgs(), [0])  # type: ignore[arg-type]
    settings = DRAWN.model_copy(update=changes)
    prompts = own.encode(["the cat", "a dog runs in the park and", "numbers 1 2", ""], 20) * 3
    draws = uniforms(Occasion.SAMPLE, 0, range(len(prompts)), 3, settings.max_new_tokens or 0)
    endless = own.sample(
        prompts, draws, settings.model_copy(update={"ignore_eos": True, "max_new_tokens": 12})
    )
    seen = Counter(token for found in endless for output in found for token in output[3:])
    own.ids = replace(own.ids, end=seen.most_common(1)[0][0])  # outputs end here and there
    each_token = own.masked_sample(prompts, draws, settings)

    looks: list[Rows] = []

    def recorded_look(goes_on: Tensor, rows: Rows) -> Rows:
        looks.append(rows_left(goes_on, rows))
        return looks[-1]

    monkeypatch.setattr(decoding, "_tokens_between_looks", lambda device: 16)
    monkeypatch.setattr(decoding, "rows_left", recorded_look)
    seldom = own.masked_sample(prompts, draws, settings)
    assert seldom.outputs == each_token.outputs
    lengths = [len(output) for found in seldom.outputs for output in found]
    assert (min(lengths) < 15) == (not settings.ignore_eos)
    assert max(lengths) > min(lengths) or settings.ignore_eos
    for number, left in enumerate(looks, 1):
        longer = [row for row, length in enumerate(lengths) if length > 16 * number]
        assert left.outputs.tolist() == longer
    assert len(looks) <= 2
    if masked:
        assert torch.equal(seldom.allowed, each_token.allowed)  # type: ignore[arg-type]
        recorded = seldom.allowed.bool().any(-1).sum(-1).tolist()  # type: ignore[union-attr]
        assert recorded == lengths


def test_a_gpu_is_looked_at_every_sixteenth_token_and_a_cpu_at_each() -> None:
    assert decoding._tokens_between_looks(torch.device("cuda:1")) == 16
    assert decoding._tokens_between_looks(torch.device("cpu")) == 1


def test_rows_that_go_on_are_found_in_their_order() -> None:
    goes_on = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 1, 1]]).bool()
    left = rows_left(goes_on, Rows.all(3, 3, "cpu"))
    assert left.outputs.tolist() == [0, 2, 7, 8]
    assert left.prompts.tolist() == [0, 2]
    assert rows_left(goes_on, left) is left
    assert len(rows_left(goes_on & False, left).outputs) == 0


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_samples_of_a_prompt_share_its_cross_attention(
    kind: str, adapted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_adapters(tiny(kind)) if adapted else tiny(kind)
    assert shares_prompts(model)
    shared = walk(model)
    monkeypatch.setitem(steps._SHARING, model, False)
    for found, expected in zip(shared, walk(model), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_sharing_samples_do_not_see_each_other_where_the_library_would_take_them_for_times() -> (
    None
):
    """Without a mask, a module that does not say otherwise counts as causal."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    torch.manual_seed(0)
    query = torch.randn(4, 3, 1, 8)  # samples 0 and 2 of one prompt, 1 and 2 of another
    key, value = torch.randn(2, 2, 3, 5, 8)
    module, of_prompt = torch.nn.Module(), torch.tensor([0, 0, 1, 1])
    expected, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](
        module, query, key[of_prompt], value[of_prompt], None
    )
    with attention.shared_by_samples(torch.tensor([0, 2, 4, 5]), 3):
        found, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](module, query, key, value, None)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_the_cross_attention_cache_has_one_row_per_prompt_that_goes_on(kind: str) -> None:
    model = tiny(kind)
    walked = steps_of(model, padded(model), Ids(end=None, start=0))
    walked.first()
    walked.repeat(10)
    walked.next(torch.zeros(30, dtype=torch.long))
    cache = walked._cache
    assert cache.self_attention_cache.layers[0].keys.shape[0] == 30
    assert cache.cross_attention_cache.layers[0].keys.shape[0] == 3
    walked.keep(Rows(torch.tensor([0, 3, 29]), torch.tensor([0, 2])))
    assert cache.self_attention_cache.layers[0].keys.shape[0] == 3
    assert cache.cross_attention_cache.layers[0].keys.shape[0] == 2


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_attention_that_cannot_share_has_copies(kind: str) -> None:
    plain, sharing = tiny(kind, "eager"), tiny(kind)
    assert not shares_prompts(plain)
    for found, expected in zip(walk(plain), walk(sharing), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prompts", [PROMPTS, [[5, 6]] * 3], ids=["padded", "whole"])
@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_masks_without_waits_change_no_logits(
    kind: str,
    implementation: str,
    adapted: bool,
    prompts: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny(kind, implementation)
    model = with_adapters(model) if adapted else model
    expected = [sequences_of(model).logits(model), *walk(model, prompts=prompts)]
    monkeypatch.setattr(attention_masks, "_is_on_cpu", lambda options: False)
    with masks_without_waits():
        found = [sequences_of(model).logits(model), *walk(model, prompts=prompts)]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_pass_asks_for_a_number_that_is_on_the_device(kind: str, implementation: str) -> None:
    """On the meta device there are none: who asks fails."""
    model = tiny(kind, implementation).to("meta")
    with pytest.raises(RuntimeError, match="meta"):
        bool(torch.ones((), device="meta"))
    sequences = sequences_of(model, "meta")
    logits, states = sequences.logits_and_states(model, with_states=True)
    assert logits.shape == (3, 3, VOCABULARY) and states is not None
    assert sequences.states(model).shape == states.shape
    with masks_without_waits():
        found = walk(model, "meta")
    assert [len(logits) for logits in found] == [3, 6, 6, 4, 2, 1]


def test_the_librarys_own_functions_are_back_after_a_block() -> None:
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    before = [ALL_MASK_ATTENTION_FUNCTIONS["sdpa"], ALL_MASK_ATTENTION_FUNCTIONS["eager"],
              ALL_ATTENTION_FUNCTIONS["sdpa"]]  # fmt: skip
    with (
        pytest.raises(ValueError),
        masks_without_waits(),
        masks_without_waits(),
        attention.shared_by_samples(torch.arange(4), 2),
    ):
        assert ALL_ATTENTION_FUNCTIONS["sdpa"] is not before[2]
        raise ValueError
    assert [ALL_MASK_ATTENTION_FUNCTIONS["sdpa"], ALL_MASK_ATTENTION_FUNCTIONS["eager"],
            ALL_ATTENTION_FUNCTIONS["sdpa"]] == before  # fmt: skip
