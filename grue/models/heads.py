"""Last layers in float32, whatever the type of the products before them.

A log-probability is a difference of logits. Where these lie around -100, as GPT-2's do, bfloat16
has them in steps of 0.5: log-probabilities err by 0.14 nats, and ratios and KL are noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from grue.models.precision import exactly

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Float32Linear(nn.Linear):
    """A linear layer whose product is in float32, under autocast and with weights of half width.

    Such weights are widened for each pass, which takes the memory of a copy in float32.
    """

    def forward(self, states: Tensor) -> Tensor:
        """[..., V] in float32, of states [..., H] of any width."""
        bias = None if self.bias is None else self.bias.float()
        with exactly(states.device):
            return nn.functional.linear(states.float(), self.weight.float(), bias)


def in_float32(head: nn.Module) -> None:
    """Makes a last layer, with the adapters that it may have, compute in float32.

    It stays the module that it is, with the weights that it has or shares, and copies do as it
    does.
    """
    for module in head.modules():
        if type(module) is nn.Linear:
            module.__class__ = Float32Linear


def head_in_float32(model: PreTrainedModel) -> None:
    """Makes a language model say its logits in float32, if a linear layer makes them.

    What a model does to states before its head, or to logits behind it, it does as ever.
    """
    head = model.get_output_embeddings()
    if head is not None:
        in_float32(head)
