"""Inner products of the scores of a prompt's outputs: of the gradients of their log-probabilities.

They are all that an estimate of the expected gradient's norm reads of the model, whatever the
rewards are.
"""

from __future__ import annotations

from collections.abc import Sequence

import psutil
import torch
from torch import Tensor, nn

from grue.models.precision import exactly
from grue.policies.decoding.batch_size import free_bytes
from grue.policies.policy import Policy
from grue.policies.prompt_encoder import Tokens

_SHARE = 0.5
"""Share of the free memory for scores that are held together; a pass needs the rest."""


def score_products(
    policy: Policy,
    prompt: Tokens,
    outputs: Sequence[Tokens],
    temperature: float,
    *,
    num_held: int | None = None,
) -> Tensor:
    """Return [K, K] inner products of the scores of a prompt's K outputs, in float64.

    The score of an output is the gradient of its log-probability, at a temperature and without
    filters, in the policy's trained weights. Equal outputs share a pass.

    Args:
        policy: the policy.
        prompt: the prompt.
        outputs: K outputs.
        temperature: divisor of the logits.
        num_held: scores in memory together, each as large as the weights; with fewer than there are
            outputs, some are computed more than once. None for as many as fit.
    """
    distinct = list(dict.fromkeys(map(tuple, outputs)))
    scores = Scores(policy, prompt, temperature)
    held = min(scores.num_fitting() if num_held is None else num_held, len(distinct))
    found = torch.empty(len(distinct), len(distinct), dtype=torch.float64)
    for first in range(0, len(distinct), held):
        block = scores.of_all(distinct[first : first + held])
        rows = slice(first, first + len(block))
        found[rows, rows] = _product(block, block.T)
        for place in range(rows.stop, len(distinct)):
            found[rows, place] = _product(block, scores.of(distinct[place]))
            found[place, rows] = found[rows, place]
        del block
    places = [distinct.index(tuple(output)) for output in outputs]
    return found[places][:, places]


def _product(scores: Tensor, others: Tensor) -> Tensor:
    """Return a product of scores in their own type, in float64 on the CPU."""
    with exactly(scores.device):
        return (scores @ others).double().cpu()


class Scores:
    """Scores of outputs of one prompt, one pass each."""

    def __init__(self, policy: Policy, prompt: Tokens, temperature: float) -> None:
        """Compute nothing yet; see `score_products`."""
        self._policy = policy
        self._prompt = prompt
        self._temperature = temperature
        self._weights: list[nn.Parameter] = [
            weight for weight in policy.model.parameters() if weight.requires_grad
        ]
        self._kind = torch.promote_types(self._weights[0].dtype, torch.float32)
        self._sizes = [weight.numel() for weight in self._weights]

    def of(self, output: Sequence[int]) -> Tensor:
        """Return [P] the score of an output."""
        return self.of_all([output])[0]

    @torch.enable_grad()
    def of_all(self, outputs: Sequence[Sequence[int]]) -> Tensor:
        """Return [n, P] the scores of some outputs, at least in float32."""
        size, device = sum(self._sizes), self._policy.device
        found = torch.empty(len(outputs), size, dtype=self._kind, device=device)
        for output, row in zip(outputs, found, strict=True):
            log_probs = self._policy.log_probs([self._prompt], [list(output)], self._temperature)
            parts = torch.autograd.grad(
                log_probs.sum(), self._weights, allow_unused=True, materialize_grads=True
            )
            for place, part in zip(row.split(self._sizes), parts, strict=True):
                place.copy_(part.flatten())
        return found

    @property
    def size(self) -> int:
        """Bytes of a score."""
        return self._kind.itemsize * sum(self._sizes)

    @property
    def gradients_size(self) -> int:
        """Bytes of the gradients that a score is made of."""
        return sum(weight.nbytes for weight in self._weights)

    def num_fitting(self) -> int:
        """Return the number of scores, at least 1, that the free memory holds."""
        device = self._policy.device
        free = free_bytes(device) if device.type == "cuda" else psutil.virtual_memory().available
        return max(1, int(_SHARE * free // self.size))
