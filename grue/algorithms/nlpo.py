"""Natural-language policy optimization (Ramamurthy et al. 2023, arXiv 2210.01241).

NLPO is PPO with a vocabulary mask: tokens are sampled among those that an earlier copy of the
policy finds probable, and updates use the policy's distribution within the same mask.
"""

from __future__ import annotations

from typing import Any

import torch

from grue.algorithms.args import NlpoArgs
from grue.algorithms.ppo import Ppo
from grue.policies.config import MaskablePolicyArgs
from grue.policies.vocabulary_mask import Mask
from grue.rollouts.batch import Rollout


class Nlpo(Ppo):
    """PPO with a vocabulary mask, refreshed every ``target_update_iterations`` iterations."""

    Args = NlpoArgs
    metric_prefix = "nlpo/"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.iteration = 0

    @property
    def mask(self) -> Mask:
        """Vocabulary mask of the policy."""
        assert self.policy.mask is not None, "checked with the keys"
        return self.policy.mask

    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Improve policy and critic on a rollout; return the metrics."""
        # 1. The mask of later rollouts; this one's is part of it.
        self.iteration += 1
        settings = self.alg.policy.args
        assert isinstance(settings, MaskablePolicyArgs), "checked with the keys"
        due = self.iteration % settings.target_update_iterations == 0
        if due and not self.alg.reproduces_rl4lms("frozen_mask"):
            self.mask.refresh(self.policy.model)
        # 2. PPO within the rollout's mask.
        return super().update(rollout, kl_coefficient, generator)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, including the mask."""
        return super().state_dict() | {"iteration": self.iteration, "mask": self.mask.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state, including the mask."""
        super().load_state_dict(state)
        self.iteration = state["iteration"]
        self.mask.load_state_dict(state["mask"])
