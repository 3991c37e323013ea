"""Settings of rejection sampling: supervised finetuning on chosen outputs of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar, Literal

from common.config.fit import PositiveFloat, PositiveInt
from common.errors import Problem
from grue.algorithms.args.micro_batches import MicroBatchArgs
from grue.algorithms.config import ReinforcementAlg
from grue.algorithms.kl_config import KlDefaults
from grue.rollouts.spec import WHOLE_OUTPUTS, RolloutSpec

Select = Literal["best", "right"]


class RejectionSamplingArgs(MicroBatchArgs):
    """Supervised finetuning on the best or the right of own outputs, drawn anew every iteration.

    It is known as RAFT (arXiv 2304.06767) with the best, and as expert iteration (arXiv 1705.08439)
    or ReST (arXiv 2308.08998) with the right ones. Number of outputs and learning rate are those of
    RAFT's public recipe (LMFlow).
    """

    kl_div_defaults: ClassVar[KlDefaults] = {"coeff": 0.0}

    learning_rate: PositiveFloat = 2e-5
    """Learning rate of the optimizer."""
    num_samples_per_input: PositiveInt = 8
    """Number of outputs, K, of each input, its group; ``env.n_envs`` is the number of inputs."""
    select: Select = "best"
    """Outputs that are learned: that with the largest reward of each input, its penalty in the
    reward counted, and the first of several (``best``); or all whose task reward is at least
    ``reward_threshold``, of some inputs none (``right``)."""
    reward_threshold: float = 1.0
    """Smallest task reward of a right output, for ``right``."""
    n_epochs: PositiveInt = 1
    """Number of passes over the chosen outputs of a rollout."""
    num_minibatches: PositiveInt = 1
    """Number of optimizer steps in a pass, each on as many chosen outputs; there are fewer steps
    where there are fewer outputs, and none without any."""
    max_grad_norm: PositiveFloat | None = 1.0
    """Largest norm of the gradients, to which they are clipped; None does not clip."""

    def rollout_spec(self) -> RolloutSpec:
        """Return rollouts of whole outputs with their total rewards, without a critic."""
        return replace(
            WHOLE_OUTPUTS,
            samples_per_input=self.num_samples_per_input,
            num_minibatches=self.num_minibatches,
            micro_batch_size=self.micro_batch_size,
        )

    def unread_keys(self) -> Iterator[tuple[str, str]]:
        """Yield the key of another choice of outputs."""
        yield from super().unread_keys()
        if self.select != "right":
            yield "reward_threshold", "without 'select' = 'right'"

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of the best of one."""
        yield from super().problems()
        if self.select == "best" and self.num_samples_per_input < 2:
            yield Problem("'select' = 'best' needs at least 2, since of one output there is no "
                          "best; raise it, or give 'select' = 'right'", "num_samples_per_input",
                          self.num_samples_per_input)  # fmt: skip

    def problems_of_alg(self, alg: ReinforcementAlg) -> Iterator[Problem]:
        """Yield the problems of penalties that no choice of outputs reads."""
        yield from super().problems_of_alg(alg)
        kl = alg.kl_div
        if kl.norm_reward:
            yield Problem("changes no choice of outputs; drop it", "kl_div.norm_reward",
                          True)  # fmt: skip
        if kl.coeff > 0 and kl.placement == "loss":
            yield Problem("the loss is that of supervised finetuning alone; give placement = "
                          "'reward', by which outputs are chosen, or coeff = 0",
                          "kl_div.placement", "loss")  # fmt: skip
        elif kl.coeff > 0 and self.select == "right":
            yield Problem("outputs are right by their task reward, without penalties; give 0, or "
                          "'args.select' = 'best'", "kl_div.coeff", kl.coeff)  # fmt: skip
