"""The optimisation methods of the controlled experiments: supervised, reinforce, expected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from sft_vs_rft import objectives


@dataclass(frozen=True)
class Predictions:
    """What the policy says of some inputs, and what is asked of it. b inputs, C classes."""

    logits: Tensor  # [b, C]
    labels: Tensor  # [b] int64, or [b, k] where the loss is the mean over k labels
    rewards: Tensor  # [b, C]
    reference: Tensor | None = None  # [b, C] log-probabilities the KL penalty is measured from
    drawn: Tensor | None = None  # [b] int64, one label per input drawn from the policy

    def drawn_rewards(self) -> Tensor:
        """[b] rewards of the drawn labels."""
        assert self.drawn is not None
        return self.rewards.gather(1, self.drawn[:, None]).squeeze(1)


def draw_labels(logits: Tensor) -> Tensor:
    """[b] one label per input drawn from softmax(logits [b, C])."""
    return torch.multinomial(logits.detach().softmax(-1), 1).squeeze(1)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """The predictions of all parts, one after the other, without their graphs."""
    values = {}
    for field in fields(Predictions):
        tensors = [getattr(part, field.name) for part in parts]
        values[field.name] = None if tensors[0] is None else torch.cat(tensors).detach()
    return Predictions(**values)


@dataclass(frozen=True)
class Method:
    """What is optimised. Means over inputs are the caller's."""

    objective: Callable[[Predictions], Tensor]
    """[b]."""
    kl: Callable[[Predictions], Tensor]
    """[b] KL(policy || reference), or its estimate, in nats."""
    maximised: bool
    sampled: bool = False
    """Whether it needs drawn labels."""

    def penalised(self, predictions: Predictions, kl_coef: float | Tensor) -> tuple[Tensor, Tensor]:
        """The objective with its KL penalty, and the KL; each [b]. ``kl_coef`` is one or [b]."""
        objective = self.objective(predictions)
        if predictions.reference is None:
            return objective, torch.zeros_like(objective)
        kl = self.kl(predictions)
        return objective - kl_coef * kl if self.maximised else objective + kl_coef * kl, kl


def _exact_kl(predictions: Predictions) -> Tensor:
    assert predictions.reference is not None
    return objectives.kl_divergence(predictions.logits, predictions.reference)


def _sampled_kl(predictions: Predictions) -> Tensor:
    # As published. Its gradient, grad log pi(y) of the draw, is zero in expectation.
    assert predictions.reference is not None and predictions.drawn is not None
    return objectives.sampled_kl(predictions.logits, predictions.reference, predictions.drawn)


def _reinforce(predictions: Predictions) -> Tensor:
    assert predictions.drawn is not None
    return objectives.reinforce(predictions.logits, predictions.rewards, predictions.drawn)


METHODS = {
    "supervised": Method(
        lambda given: objectives.cross_entropy(given.logits, given.labels),
        _exact_kl,
        maximised=False,
    ),
    "expected_reinforce": Method(
        lambda given: objectives.expected_reward(given.logits, given.rewards),
        _exact_kl,
        maximised=True,
    ),
    "reinforce": Method(_reinforce, _sampled_kl, maximised=True, sampled=True),
}
