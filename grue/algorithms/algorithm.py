"""What an algorithm is: improves an actor-critic on a rollout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import torch

from grue.algorithms.config import AlgorithmArgs, ReinforcementAlg
from grue.algorithms.optimizers import adamw
from grue.models.precision import MixedPrecisionStepper
from grue.policies.actor_critic import ActorCritic
from grue.rollouts.batch import Rollout

ArgsT = TypeVar("ArgsT", bound=AlgorithmArgs)


class Algorithm(ABC, Generic[ArgsT]):
    """Built once per run from its keys; owns the optimiser."""

    Args: ClassVar[type[AlgorithmArgs]]
    """The model of the algorithm's keys (its ``args``), which also say what it needs of rollouts
    and what goes with it, so that plans are checked without this class."""
    supports_data_parallel: ClassVar[bool] = False
    """Whether ranks share its minibatches, see `Minibatch.of_this_rank`, and it makes its passes
    and steps by `backward` and `step`, which also scale losses for float16."""

    def __init__(self, actor_critic: ActorCritic, alg: ReinforcementAlg) -> None:
        self.actor_critic = actor_critic
        self.policy = actor_critic.policy
        self.alg = alg
        self.args: ArgsT = alg.args  # type: ignore[assignment]  # as its id says
        self.optimizer = self.make_optimizer()
        self.stepper = MixedPrecisionStepper(alg.policy.mixed_precision, self.policy.device)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """AdamW with the policy's settings."""
        args = self.alg.policy.args
        lr = self.args.learning_rate
        named = self.actor_critic.named_parameters()
        return adamw(named, lr, args.weight_decay, args.optimizer_kwargs, args.optimizer)

    def set_learning_rate(self, progress: float) -> None:
        """Set the step size to that after ``progress`` of the run's iterations, from 0 to 1."""
        rate = self.args.scheduled_learning_rate(progress)
        if rate is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = rate

    @abstractmethod
    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Improve policy and critic on a rollout; gives what was measured, by name.

        Args:
            rollout: drawn by the policy as it is now.
            kl_coefficient: the one of the rollout's penalty, in reward per nat.
            generator: on the CPU; the only source of random numbers.
        """

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss to those that are there; of ranks, each its part of it."""
        self.stepper.backward(loss)

    def step(self, max_grad_norm: float | None) -> torch.Tensor:
        """Move policy and critic by the gradients, clipped to a norm; gives it before clipping."""
        return self.stepper.step(self.optimizer, self.actor_critic.parameters(), max_grad_norm)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds beside the weights."""
        return {"optimizer": self.optimizer.state_dict(), "descent": self.stepper.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.stepper.load_state_dict(state.get("descent", {}))
