"""State that a run of reinforcement finetuning resumes from, and its checks."""

from __future__ import annotations

from typing import Any, NotRequired

from pydantic import ConfigDict, FiniteFloat, NonNegativeInt, TypeAdapter, with_config
from typing_extensions import TypedDict

from common.run.record_schemas import why_unfit
from common.training import checkpoint
from common.training.training_state import OptimizerState
from grue.algorithms.algorithm import Algorithm


@with_config(ConfigDict(extra="allow"))
class AlgorithmState(TypedDict):
    """Entries that the state of every algorithm has."""

    optimizer: OptimizerState


class ControllerState(TypedDict):
    """State of the KL coefficient."""

    coefficient: FiniteFloat


class RolloutsState(TypedDict):
    """State of what collects rollouts; older checkpoints lack it."""

    num_drawn: NonNegativeInt
    pass_rates: NotRequired[dict[int, FiniteFloat]]


@with_config(ConfigDict(strict=True))
class ReinforcementState(TypedDict):
    """State from which a run resumes."""

    iteration: NonNegativeInt
    weights: dict[str, Any]
    algorithm: AlgorithmState
    controller: ControllerState
    random: dict[str, Any]
    rollouts: NotRequired[RolloutsState]


_STATE = TypeAdapter(ReinforcementState)
_LATER_KEYS = {"descent"}
"""Entries of an algorithm's state that older checkpoints lack and do without."""


def why_unfit_state(
    state: dict[str, Any], algorithm: Algorithm[Any], actor_critic: checkpoint.HasState
) -> str | None:
    """Return what keeps a run from resuming from ``state``; None where nothing does."""
    problem = why_unfit(state, _STATE)
    if problem is not None:
        return problem
    lost = algorithm.state_dict().keys() - state["algorithm"].keys()
    if lost - _LATER_KEYS:
        return f"'algorithm' lacks {', '.join(sorted(lost))}"
    return checkpoint.misfit(actor_critic, state["weights"])
