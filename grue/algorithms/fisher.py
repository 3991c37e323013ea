"""Fisher-vector products of a policy, with the memory of few outputs.

At a policy's own weights the Hessian of mean KL(pi_new || pi) is the Fisher matrix, a mean over
states of J' F J, with J the Jacobian of the logits in the weights and F that of the probabilities
in the logits (Gauss-Newton form; Martens 2020, arXiv 1412.1193, section 9). A product therefore
takes one forward-mode and one reverse-mode pass, and no second-order graph.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from common.training.shape_checks import check_shape
from grue.policies.distribution import divided
from grue.rollouts.minibatch import Minibatch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def softmax_fisher(logits: Tensor, tangent: Tensor) -> Tensor:
    """Return [..., V] F u = p * (u - p'u), with F = diag(p) - p p' of the distribution p.

    Args:
        logits: [..., V] of the distribution p.
        tangent: [..., V] u, a change of the logits.
    """
    check_shape("tangent", tangent, logits.shape)
    probs = logits.softmax(-1)
    return probs * (tangent - (probs * tangent).sum(-1, keepdim=True))


class TokenLogits(nn.Module):
    """Logits of a language model before the trained tokens of a minibatch."""

    def __init__(self, model: PreTrainedModel, temperature: float = 1.0) -> None:
        super().__init__()
        self.model = model
        self.temperature = temperature

    def forward(self, batch: Minibatch) -> Tensor:
        """Return [M, V] logits in float32, divided by the temperature."""
        return divided(batch.counted(batch.sequences.logits(self.model)), self.temperature)

    def tangent(self, batch: Minibatch, direction: Mapping[str, Tensor]) -> Tensor:
        """Return [M, V] J v, the change of the logits for a change ``direction`` of the weights."""
        weights = dict(self.named_parameters())
        # Only the plain kernel of attention knows forward mode.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), forward_ad.dual_level():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch's, of its own first use
                moving = {
                    name: forward_ad.make_dual(weights[name], change.to(weights[name].dtype))
                    for name, change in direction.items()
                }
            found = forward_ad.unpack_dual(functional_call(self, moving, (batch,)))
            tangent: Tensor | None = found.tangent
            assert tangent is not None, "the logits depend on the weights"
            return tangent


class Fisher:
    """Damped Fisher matrix of a policy at its weights, as a function of a vector."""

    def __init__(self, logits: TokenLogits, batches: Sequence[Minibatch], damping: float) -> None:
        """Set the ``batches`` of equal size with the states to use; each has a pass of its own."""
        self._logits = logits
        self._batches = batches
        self._damping = damping
        self._weights = {n: p for n, p in logits.named_parameters() if p.requires_grad}
        self._num_states = sum(map(len, batches))

    def __call__(self, vector: Tensor) -> Tensor:
        """Return [P] the product with ``vector`` [P], in the order of the trained weights."""
        weights = list(self._weights.values())
        direction = dict(zip(self._weights, split(vector, weights), strict=True))
        product = self._damping * vector
        for batch in self._batches:
            tangent = self._logits.tangent(batch, direction)
            logits = self._logits(batch)
            image = softmax_fisher(logits.detach(), tangent) / self._num_states
            product += gradient(logits, weights, image)
        return product


def gradient(output: Tensor, weights: Sequence[Tensor], image: Tensor | None = None) -> Tensor:
    """Return [P] float32 gradient of ``output``, or of its inner product with ``image``."""
    parts = torch.autograd.grad(output, weights, image, allow_unused=True, materialize_grads=True)
    return torch.cat([part.flatten().float() for part in parts])


def split(vector: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    """Return the pieces of ``vector`` [P], each in the shape of its weight."""
    shapes = [weight.shape for weight in weights]
    check_shape("vector", vector, (sum(shape.numel() for shape in shapes),))
    pieces = vector.split([shape.numel() for shape in shapes])
    return [piece.view(shape) for piece, shape in zip(pieces, shapes, strict=True)]
