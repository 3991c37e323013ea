"""Which models' logits are the product of their output layer, and their losses without logits."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from grue.models.config import LoraConfig
from grue.models.heads import head_in_float32
from grue.models.loading import with_adapters
from grue.policies.actor_critic import ActorCritic
from grue.policies.output_head import passing_states, product_head
from grue.policies.policy import Policy
from tests.grue.conftest import causal_model, encoder_decoder


class Changed(nn.Module):
    """Logits of a model, changed afterwards."""

    def __init__(self, model: Any, change: Any) -> None:
        super().__init__()
        plain = model.forward

        def forward(*args: Any, **keys: Any) -> Any:
            found = plain(*args, **keys)
            found.logits = change(found.logits)
            return found

        forward.__signature__ = inspect.signature(plain)  # type: ignore[attr-defined]
        model.forward = forward


CHANGES = {
    "capped": lambda logits: 30 * torch.tanh(logits / 30),
    "scaled": lambda logits: logits * 0.5,
    "scaled in place": lambda logits: logits.mul_(0.5),
    "biased": lambda logits: logits + 0.0,
}


@pytest.mark.parametrize("kind", ["gpt2", "t5"])
def test_layer_of_a_plain_model_is_found(tokenizer: PreTrainedTokenizerFast, kind: str) -> None:
    size = len(tokenizer)
    model: Any = causal_model(size) if kind == "gpt2" else encoder_decoder(kind, size)
    both = ActorCritic(Policy(model, tokenizer), None)
    assert both.head is model.get_output_embeddings()
    sequences = both.policy.sequences(
        both.policy.encode(["the cat", "a dog runs"], 9), [[5], [6, 7]]
    )
    with torch.no_grad():
        head, _ = both.evaluate_head(sequences)
        expected = both.evaluate(sequences).logits
    torch.testing.assert_close(head.states @ head.weight.T, expected)
    reference = both.reference_head(sequences)
    torch.testing.assert_close(reference.states @ reference.weight.T, expected)
    assert "forward" not in vars(both.head)  # which makes logits again


@pytest.mark.parametrize("change", CHANGES)
def test_logits_that_are_changed_afterwards_are_no_product(
    tokenizer: PreTrainedTokenizerFast, change: str
) -> None:
    """Also where a random model's logits hardly show it."""
    model = causal_model(len(tokenizer))
    head_in_float32(model)
    Changed(model, CHANGES[change])
    assert product_head(model) is None


def test_bias_of_logits_is_no_product(tokenizer: PreTrainedTokenizerFast) -> None:
    model: Any = encoder_decoder("bart", len(tokenizer))
    head_in_float32(model)
    assert product_head(model) is None


@pytest.mark.filterwarnings("ignore::UserWarning")  # of peft, about tied layers
def test_adapter_or_hook_on_the_layer_is_no_product(tokenizer: PreTrainedTokenizerFast) -> None:
    lora = LoraConfig(r=2, target_modules=("lm_head",))
    adapted = with_adapters(causal_model(len(tokenizer)), lora, "CAUSAL_LM", dropout=False, key="l")
    head_in_float32(adapted)
    assert product_head(adapted) is None
    hooked = causal_model(len(tokenizer))
    head_in_float32(hooked)
    assert product_head(hooked) is not None
    hooked.lm_head.register_forward_hook(lambda module, inputs, output: 2 * output)
    assert product_head(hooked) is None


def test_layer_that_is_not_called_as_a_module_is_no_product() -> None:
    model: Any = causal_model(8)
    head_in_float32(model)
    assert product_head(model) is not None
    signature = inspect.signature(model.forward)

    def forward(*args: Any, logits_to_keep: int = 0, **keys: Any) -> SimpleNamespace:
        states = model.transformer(*args, **keys).last_hidden_state[:, -logits_to_keep:]
        return SimpleNamespace(logits=nn.functional.linear(states, model.lm_head.weight))

    forward.__signature__ = signature  # type: ignore[attr-defined]
    model.forward = forward
    assert product_head(model) is None


def test_layer_computes_again_after_an_error() -> None:
    layer = nn.Linear(2, 3)
    states: Tensor = torch.ones(1, 2)
    with pytest.raises(KeyError), passing_states(layer):
        assert layer(states) is states
        raise KeyError
    assert layer(states).shape == (1, 3)
