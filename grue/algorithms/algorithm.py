"""Base class of algorithms, which improve an actor-critic on rollouts."""

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
    """Reinforcement algorithm; built once per run from its keys, and owner of the optimiser."""

    Args: ClassVar[type[AlgorithmArgs]]
    """Model of the algorithm's keys (its ``args``). It also describes the rollouts and settings
    that the algorithm needs, so that plans are checked without this class."""
    supports_data_parallel: ClassVar[bool] = False
    """If true, ranks share its minibatches, see `Minibatch.of_this_rank`; its passes and steps then
    use `backward` and `step`, which also scale losses for float16."""

    def __init__(self, actor_critic: ActorCritic, alg: ReinforcementAlg) -> None:
        self.actor_critic = actor_critic
        self.policy = actor_critic.policy
        self.alg = alg
        self.args: ArgsT = alg.args  # type: ignore[assignment]  # as its id says
        self.optimizer = self.make_optimizer()
        self.stepper = MixedPrecisionStepper(alg.policy.mixed_precision, self.policy.device)

    def make_optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW with the policy's settings."""
        args = self.alg.policy.args
        lr = self.args.learning_rate
        named = self.actor_critic.named_parameters()
        return adamw(named, lr, args.weight_decay, args.optimizer_kwargs, args.optimizer)

    def set_learning_rate(self, iteration: int, progress: float) -> None:
        """Set the learning rate of an iteration, from 0, before which a share of the run is done.

        The share ``progress`` is between 0 and 1.
        """
        rate = self.args.scheduled_learning_rate(iteration, progress)
        if rate is not None:
            for group in self.optimizer.param_groups:
                group["lr"] = rate

    @abstractmethod
    def update(
        self, rollout: Rollout, kl_coefficient: float, generator: torch.Generator
    ) -> dict[str, float]:
        """Improve policy and critic on a rollout; return metrics by name.

        Args:
            rollout: sampled by the present policy.
            kl_coefficient: coefficient of the rollout's penalty, in reward per nat.
            generator: CPU generator, the only source of random numbers.
        """

    def backward(self, loss: torch.Tensor) -> None:
        """Add the gradients of a loss to the accumulated ones.

        Each rank passes its part of the loss.
        """
        self.stepper.backward(loss)

    def step(self, max_grad_norm: float | None) -> torch.Tensor:
        """Step by the gradients, clipped to a norm; return the norm before clipping."""
        return self.stepper.step(self.optimizer, max_grad_norm)

    def state_dict(self) -> dict[str, Any]:
        """Return the state for checkpoints, without the weights."""
        return {"optimizer": self.optimizer.state_dict(), "descent": self.stepper.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.stepper.load_state_dict(state.get("descent", {}))
