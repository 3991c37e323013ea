"""Output layers in float32, whatever the type of the products before them.

A log-probability is a difference of logits. GPT-2's logits lie around -100, where bfloat16 has
steps of 0.5: log-probabilities err by 0.14 nats, and ratios and KL are noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from grue.models.precision import exactly
from grue.models.products import is_by_onednn, is_differentiated, product, rounded_up, with_rows

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Float32Linear(nn.Linear):
    """A linear layer whose product is in float32, under autocast and with half-width weights too.

    Half-width weights are widened for each pass, which takes the memory of a float32 copy.
    """

    def forward(self, states: Tensor) -> Tensor:
        """Return [..., V] the product in float32, of states [..., H] of any width."""
        states, weight = states.float(), self.weight.float()
        bias = None if self.bias is None else self.bias.float()
        with exactly(states.device):
            is_plain = bias is None and not is_differentiated(states, weight)
            if not (is_plain and is_by_onednn(states, weight)):
                return nn.functional.linear(states, weight, bias)
            rows = states.flatten(0, -2)
            found = product(with_rows(rows, rounded_up(len(rows))), weight, by_onednn=True)
            logits: Tensor = found[: len(rows)].unflatten(0, states.shape[:-1])
            return logits


def in_float32(head: nn.Module) -> None:
    """Make an output layer and its adapters compute in float32.

    The module, its weights and their sharing stay as they are; copies of it behave the same.
    """
    for module in head.modules():
        if type(module) is nn.Linear:
            module.__class__ = Float32Linear


def head_in_float32(model: PreTrainedModel) -> None:
    """Make a language model compute its logits in float32, if a linear layer makes them.

    Scaling of states before the layer, or of logits after it, is kept.
    """
    head = model.get_output_embeddings()
    if head is not None:
        in_float32(head)
