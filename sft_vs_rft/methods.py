"""The optimisation methods of the controlled experiments: supervised, reinforce, expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sft_vs_rft import objectives


@dataclass(frozen=True)
class Batch:
    """Inputs of one update; those whose label was changed come first."""

    inputs: Tensor  # [B, ...]
    labels: Tensor  # [B] int64, or [B, k] where the loss is the mean over k labels
    rewards: Tensor  # [B, C]
    reference: Tensor | None  # [B, C] log-probabilities that the KL penalty is measured from
    num_changed: int
    drawn: Tensor | None = None  # [B] int64, one sampled label per input

    @property
    def num_inputs(self) -> int:
        """B."""
        return len(self.inputs)

    def with_drawn_labels(self, logits: Tensor) -> Batch:
        """The batch with one label per input drawn from the policy softmax(logits)."""
        return replace(self, drawn=torch.multinomial(logits.detach().softmax(-1), 1).squeeze(1))

    def drawn_rewards(self) -> Tensor:
        """[B] rewards of the drawn labels."""
        assert self.drawn is not None
        return self.rewards.gather(1, self.drawn[:, None]).squeeze(1)

    def changed_part(self) -> Batch:
        """The inputs whose label was changed."""
        m = self.num_changed
        return Batch(
            self.inputs[:m],
            self.labels[:m],
            self.rewards[:m],
            None if self.reference is None else self.reference[:m],
            m,
            None if self.drawn is None else self.drawn[:m],
        )


@dataclass(frozen=True)
class Method:
    """What is optimised. Means over inputs are the caller's."""

    objective: Callable[[Tensor, Batch], Tensor]
    """[B] from logits [B, C]."""
    kl: Callable[[Tensor, Batch], Tensor]
    """[B] KL(policy || reference), or its estimate, in nats."""
    maximised: bool
    sampled: bool = False
    """Whether the batch needs drawn labels."""

    def penalised(self, logits: Tensor, batch: Batch, kl_coef: float) -> tuple[Tensor, Tensor]:
        """The objective with its KL penalty, and the KL; each [B]."""
        objective = self.objective(logits, batch)
        if batch.reference is None:
            return objective, torch.zeros_like(objective)
        kl = self.kl(logits, batch)
        return objective - kl_coef * kl if self.maximised else objective + kl_coef * kl, kl


def _exact_kl(logits: Tensor, batch: Batch) -> Tensor:
    assert batch.reference is not None
    return objectives.kl_divergence(logits, batch.reference)


def _sampled_kl(logits: Tensor, batch: Batch) -> Tensor:
    # As published. Its gradient, grad log pi(y) of the draw, is zero in expectation.
    assert batch.reference is not None and batch.drawn is not None
    return objectives.sampled_kl(logits, batch.reference, batch.drawn)


def _reinforce(logits: Tensor, batch: Batch) -> Tensor:
    assert batch.drawn is not None
    return objectives.reinforce(logits, batch.rewards, batch.drawn)


METHODS = {
    "supervised": Method(
        lambda logits, batch: objectives.cross_entropy(logits, batch.labels),
        _exact_kl,
        maximised=False,
    ),
    "expected_reinforce": Method(
        lambda logits, batch: objectives.expected_reward(logits, batch.rewards),
        _exact_kl,
        maximised=True,
    ),
    "reinforce": Method(_reinforce, _sampled_kl, maximised=True, sampled=True),
}
