"""Optimisation methods of the controlled experiments: supervised, reinforce, expected_reinforce."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sft_vs_rft import objectives


@dataclass(frozen=True)
class Predictions:
    """Predictions of the policy for b inputs and C classes, with labels and rewards."""

    logits: Tensor  # [b, C]
    labels: Tensor  # [b] int64, or [b, k] where the loss is the mean over k labels
    rewards: Tensor  # [b, C]
    reference: Tensor | None = None  # [b, C] log-probabilities the KL penalty is measured from
    drawn: Tensor | None = None  # [b] int64, one label per input drawn from the policy

    def reward_and_std(self) -> tuple[Tensor, Tensor]:
        """Return [b] the reward of the drawn labels, or else its expectation, and [b] its std."""
        value, std = objectives.reward_mean_std(self.logits, self.rewards)
        if self.drawn is not None:
            value = self.rewards.gather(1, self.drawn[:, None]).squeeze(1)
        return value, std


def label_noise(num_inputs: int, num_classes: int, device: torch.device) -> Tensor:
    """Draw [b, C] exponential numbers for `drawn_labels` from the device's global generator."""
    return torch.empty(num_inputs, num_classes, device=device).exponential_()


def drawn_labels(logits: Tensor, noise: Tensor) -> Tensor:
    """Draw [...] one label per input from softmax(logits [..., C]) with `label_noise` [..., C].

    The smallest of exponential numbers with rates pi_y is that of y with probability pi_y. The
    labels equal those of `torch.multinomial`, which uses the same method, but the noise can be
    drawn before the logits are known.
    """
    return (logits.detach().softmax(-1) / noise).argmax(-1)


def joined(parts: Sequence[Predictions]) -> Predictions:
    """Return the predictions of all parts as one, without their graphs."""
    references = [part.reference for part in parts if part.reference is not None]
    drawn = [part.drawn for part in parts if part.drawn is not None]
    return Predictions(
        torch.cat([part.logits for part in parts]).detach(),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.rewards for part in parts]),
        torch.cat(references) if references else None,
        torch.cat(drawn) if drawn else None,
    )


@dataclass(frozen=True)
class Method:
    """Objective of a method, per input; the caller takes means."""

    objective: Callable[[Predictions], Tensor]
    """Objective without penalty, [b]."""
    kl: Callable[[Predictions], Tensor]
    """KL(policy || reference), or its estimate, in nats, [b]."""
    maximised: bool
    sampled: bool = False
    """If true, the method needs drawn labels."""

    def penalised(self, predictions: Predictions, kl_coef: float | Tensor) -> tuple[Tensor, Tensor]:
        """Return the objective with its KL penalty, and the KL, each [b].

        ``kl_coef`` is a number or [b].
        """
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
