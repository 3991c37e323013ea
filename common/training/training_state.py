"""Training states: their content, and the check that a run can resume from one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Required

import torch
from pydantic import ConfigDict, Field, NonNegativeInt, TypeAdapter, with_config
from typing_extensions import TypedDict

from common.errors import UserError
from common.run.record_schemas import why_unfit
from common.training.checkpoint import State


@contextmanager
def taking(path: Path) -> Iterator[None]:
    """Report errors of loading the state in ``path`` inside the block as the user's.

    Raises:
        UserError: the state does not fit the run.
    """
    try:
        yield
    except Exception as error:  # what a strange state makes of optimisers and generators
        raise UserError(
            f"{path} does not fit the run ({type(error).__name__}: {error}); --fresh "
            "repeats the run from the start"
        ) from error


class OptimizerState(TypedDict):
    """State of a torch optimiser."""

    state: dict[Any, Any]
    param_groups: Annotated[list[dict[str, Any]], Field(min_length=1)]


@with_config(ConfigDict(strict=True))
class _TrainingState(TypedDict, total=False):
    """State of a fit."""

    model: Required[dict[str, Any]]
    optimizer: Required[OptimizerState]
    epoch: Required[NonNegativeInt]
    stop_reason: Required[str | None]
    callbacks: Required[dict[str, dict[str, Any]]]
    random: Required[dict[str, Any]]


_TRAINING_STATE = TypeAdapter(_TrainingState)


def why_not_to_go_on(state: State, epochs: int, optimizer: torch.optim.Optimizer) -> str | None:
    """Return why a fit of ``epochs`` epochs cannot continue from ``state``; None if it can.

    ``optimizer`` is the fit's, or one of the same kind.

    The weights' shapes are checked by `misfit`.
    """
    problem = why_no_training_state(state, optimizer)
    if problem is None and state["epoch"] >= epochs:
        return f"has seen {state['epoch']} epochs, so nothing is left of 'epochs' = {epochs}"
    return problem


def why_no_training_state(state: State, optimizer: torch.optim.Optimizer) -> str | None:
    """Return why ``state`` is not that of a fit with such an optimizer; None if it is."""
    missing = sorted(_TrainingState.__required_keys__ - state.keys())
    if missing:
        return (
            f"holds no training state (it lacks {', '.join(missing)}); name a last.pt of a run, or "
            "load weights alone"
        )
    problem = why_unfit(state, _TRAINING_STATE)
    if problem is not None:
        return f"holds no training state ({problem})"
    keys = [set(given["param_groups"][0]) for given in (optimizer.state_dict(), state["optimizer"])]
    return None if keys[0] == keys[1] else "was made with another optimizer"
