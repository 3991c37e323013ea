"""Keys of ``alg.kl_div``, the penalty for leaving the initial model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from typing_extensions import TypedDict

from common.config.base import LATER, Config
from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.errors import Problem


class AdaptiveKlConfig(Config):
    """Controller of the coefficient by the KL of whole outputs (arXiv 1909.08593).

    After each rollout the coefficient is multiplied by 1 + e n / horizon, with n outputs and e = KL
    / target - 1 clipped to [-0.2, 0.2].
    """

    target: PositiveFloat
    """Target of the mean KL of an output, summed over its tokens, in nats."""
    horizon: PositiveInt = 10_000
    """Time constant in outputs; the coefficient changes more slowly for larger values."""


Placement = Literal["reward", "loss"]
KlEstimator = Literal["k1", "k2", "k3", "full"]


class KlDivConfig(Config):
    """Penalty for the distance from the initial model, per token of an output."""

    coeff: NonNegativeFloat
    """Initial coefficient, in reward per nat."""
    placement: Placement = "reward"
    """Place of the penalty: the reward of each token, or the loss."""
    estimator: Annotated[KlEstimator | None, LATER] = None
    """Estimator of a token's KL, with d = log pi - log ref of the token drawn: d (``k1``), d^2 / 2
    (``k2``), exp(-d) - 1 + d (``k3``), or the sum over the vocabulary (``full``). None for ``k1``
    in the reward and ``full`` in the loss."""
    analytic_kl_reward: bool = False
    """If true, a token's KL, in rewards and for ``target_kl``, is that of the distributions over
    the vocabulary, instead of the sampled token's estimate."""
    target_kl: PositiveFloat | None = None
    """Target of the KL per token, in nats, to which the coefficient adapts; None keeps it
    constant."""
    adaptive_kl: AdaptiveKlConfig | None = None
    """Controller by the KL of whole outputs instead; None for ``target_kl``."""
    norm_reward: bool = False
    """If true, the task's rewards of a rollout's tokens are standardised before the penalty is
    added; equal ones become 0. The published code standardises the sum, which magnifies the penalty
    where rewards do not deviate."""

    @property
    def of_loss(self) -> KlEstimator:
        """Estimator of the KL in the loss."""
        return self.estimator or "full"

    @property
    def of_reward(self) -> KlEstimator:
        """Estimator of the KL in rewards, and of that which the targets concern."""
        if self.analytic_kl_reward:
            return "full"
        return "k1" if self.placement == "loss" else self.estimator or "k1"

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of two targets, and of two estimators of one reward."""
        yield from super().problems()
        other = self.placement == "reward" and self.estimator not in (None, "full")
        if self.analytic_kl_reward and other:
            default = "" if "estimator" in self.model_fields_set else ", the default here,"
            yield Problem(f"is the exact KL, and 'estimator' = '{self.estimator}'{default} is not; "
                          "give 'estimator' = 'full' instead, or drop this key",
                          "analytic_kl_reward", True)  # fmt: skip
        if self.target_kl is not None and self.adaptive_kl is not None:
            yield Problem("contradicts 'adaptive_kl'; give one of them", "target_kl",
                          self.target_kl)  # fmt: skip


class KlDefaults(TypedDict, total=False):
    """Defaults of ``kl_div``, where an algorithm has its own."""

    coeff: float
    placement: Placement
    estimator: KlEstimator
