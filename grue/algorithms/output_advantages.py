"""Advantages of whole outputs: rewards less a baseline, some of which remember earlier rollouts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from grue.rl.advantages import cumulative_means
from grue.rl.group_advantages import BASELINES, Groups, group_advantages
from grue.rl.numeric_equality import minus
from grue.rl.tolerance import TOLERANCE


class OutputAdvantages:
    """Advantages [B, K] of outputs by the name of a baseline, with the state of running means."""

    def __init__(
        self,
        baseline: str,
        *,
        scale: str | None = None,
        tolerance: float = TOLERANCE,
        decay: float = 0.9,
        includes_own: bool = False,
    ) -> None:
        """Set the parts of the estimate.

        Args:
            baseline: name in `BASELINES`, ``running_mean``, ``cumulative_mean`` or ``none``.
            scale: name in `SCALES`, for baselines of `BASELINES`; None divides by nothing.
            tolerance: largest difference of equal rewards of a group, see `group_advantages`.
            decay: of ``running_mean``, per rollout.
            includes_own: whether ``cumulative_mean`` includes an output's own reward.
        """
        self.baseline, self.scale, self.tolerance = baseline, scale, tolerance
        self.decay, self.includes_own = decay, includes_own
        self.running_means: Tensor | None = None
        """[2] exponential means of the task's rewards and of the penalties over rollouts."""
        self.totals, self.count = torch.zeros(2, dtype=torch.float64), 0
        """[2] sums of both over all outputs so far, and the number of outputs."""

    def __call__(
        self, task: Tensor, penalties: Tensor, groups: Groups | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return [B, K] the task's and the penalties' parts of a rollout's advantages.

        Args:
            task: [B, K] task rewards of whole outputs.
            penalties: [B, K] sums of the outputs' KL penalties.
            groups: which groups are silent, where not their own task rewards decide.
        """
        if self.baseline == "none":
            return task, penalties
        if self.baseline in BASELINES:
            return group_advantages(
                task, penalties, baseline=self.baseline, scale=self.scale,
                tolerance=self.tolerance, groups=groups,
            )  # fmt: skip
        parts = torch.stack([task, penalties])
        is_running = self.baseline == "running_mean"
        means = self._moved_means(parts) if is_running else self._means_so_far(parts)
        of_task, of_penalties = minus(parts, means)
        return of_task, of_penalties

    def _moved_means(self, parts: Tensor) -> Tensor:
        """Return [2, B, K] the means of earlier rollouts' parts; of the first rollout its own.

        Each rollout is included from the next one on.
        """
        new = parts.double().mean((1, 2))
        old = new if self.running_means is None else self.running_means.to(new)
        self.running_means = self.decay * old + (1 - self.decay) * new
        return old.to(parts)[:, None, None].expand_as(parts)

    def _means_so_far(self, parts: Tensor) -> Tensor:
        """Return [2, B, K] each output's baselines, with the outputs in order."""
        flat = parts.flatten(1)
        totals = self.totals.to(flat.device)
        means = [
            cumulative_means(part, total, self.count, includes_own=self.includes_own)
            for part, total in zip(flat, totals, strict=True)
        ]
        self.totals = totals + flat.double().sum(1)
        self.count += flat.shape[1]
        return torch.stack(means).view_as(parts)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for checkpoints: the means."""
        means = None if self.running_means is None else self.running_means.tolist()
        return {"running_means": means, "totals": self.totals.tolist(), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the means, if the state has them."""
        if "count" not in state:
            return
        means = state["running_means"]
        self.running_means = None if means is None else torch.tensor(means, dtype=torch.float64)
        self.totals = torch.tensor(state["totals"], dtype=torch.float64)
        self.count = state["count"]
