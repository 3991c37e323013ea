"""Messages about rollouts that teach less than they cost, each logged once."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from grue.algorithms.policy_gradient import NUM_STEPS
from grue.rollouts.batch import Rollout

log = logging.getLogger(__name__)

_MUCH = 0.1
"""Share of unused tokens of a rollout above which a message is logged."""


class RolloutMessages:
    """Messages of one run, about the first of its rollouts that each of them fits."""

    def __init__(self) -> None:
        self._has_told_of_unused = False
        self._has_told_of_silence = False

    def tell_of_unused(self, rollout: Rollout) -> None:
        """Log that many outputs are sampled and not used."""
        num_drawn = sum(map(len, rollout.outputs))
        unused = int((rollout.num_used == 0).sum())
        is_little = not unused or rollout.num_tokens > (1 - _MUCH) * num_drawn
        if self._has_told_of_unused or is_little:
            return
        self._has_told_of_unused = True
        log.warning(
            "%d of the rollout's %d outputs are not used: %d tokens are drawn, and updates take "
            "'alg.args.n_steps' x outputs at a time = %d of them; raise 'alg.args.n_steps', or "
            "lower 'env.n_envs'", unused, len(rollout), num_drawn, rollout.num_tokens,
        )  # fmt: skip

    def tell_of_silence(self, iteration: int, found: Mapping[str, float]) -> None:
        """Log that an update, which measured ``found``, has learned nothing from rewards."""
        is_left_out = found.get(NUM_STEPS) == 0
        # Batches were drawn anew to the last, and still no group deviates.
        is_in_vain = found.get("groups/num_resampled", 0) > 0 and found["groups/mixed"] == 0
        if self._has_told_of_silence or not (is_left_out or is_in_vain):
            return
        self._has_told_of_silence = True
        why = "no output of its rollout is chosen" if "rejection_sampling/chosen" in found else (
            "in each group of its rollout all outputs have the same reward"
        )  # fmt: skip
        log.warning(
            "iteration %d learns nothing from rewards: %s%s. If that lasts, the inputs are too "
            "hard or too easy for the policy: take others, or raise "
            "'alg.args.num_samples_per_input'; '%s' in metrics.jsonl tells of further ones",
            iteration, why,
            ", so that the update makes no step" if is_left_out else ", whatever is drawn again",
            NUM_STEPS if is_left_out else "groups/mixed",
        )  # fmt: skip
