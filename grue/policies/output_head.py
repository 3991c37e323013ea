"""The output layer of a language model, set apart where logits are its product and nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from grue.models.heads import Float32Linear
from grue.policies.padding import Prompts
from grue.policies.sequences import Sequences

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def product_head(model: PreTrainedModel) -> nn.Linear | None:
    """Return the output layer if the model's logits are the layer's product, unchanged.

    None if they are scaled, capped or biased afterwards, or if the layer is another module, such as
    one with an adapter.
    """
    head = model.get_output_embeddings()
    if type(head) is not Float32Linear or head.bias is not None:
        return None
    if head._forward_hooks or head._forward_pre_hooks:
        return None
    widths = head.out_features, head.in_features
    return head if all(_is_product(model, head, width) for width in widths) else None


@contextlib.contextmanager
def passing_states(head: nn.Module) -> Iterator[None]:
    """Make a model return the states before its output layer in the place of logits."""
    with _computing(head, lambda states: states):
        yield


@contextlib.contextmanager
def _computing(head: Any, forward: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Make an output layer compute another function."""
    head.forward = forward
    try:
        yield
    finally:
        del head.forward


@torch.no_grad()
def _is_product(model: PreTrainedModel, head: nn.Linear, width: int) -> bool:
    """Return whether the model gives back what its output layer computes, of such a width.

    It is tried once: what comes back must be the same tensor, or a part of it, never written to.
    So no numbers are needed, which could look alike. Models whose logits are of another number
    refuse the shape.
    """
    ids = torch.zeros(1, 2, dtype=torch.long, device=model.device)
    tokens = Prompts(ids, torch.ones_like(ids))
    made: list[Tensor] = []

    def made_up(states: Tensor) -> Tensor:
        made.append(states.new_zeros(*states.shape[:-1], width, dtype=torch.float32))
        return made[-1]

    start = 0 if model.config.is_encoder_decoder else None
    try:
        with _computing(head, made_up):
            found = Sequences(tokens, tokens, start).logits(model)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError):
        return False
    if len(made) != 1:  # the layer is not called as a module, or more than once
        return False
    (whole,) = made
    return (found is whole or found._base is whole) and whole._version == 0
