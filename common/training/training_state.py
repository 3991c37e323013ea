"""What a run goes on from: what must stand in it, and what keeps a run from taking it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Required

import torch
from pydantic import ConfigDict, Field, NonNegativeInt, TypeAdapter, with_config
from typing_extensions import TypedDict

from common.errors import UserError
from common.run.records import why_unfit
from common.training.checkpoint import State


@contextmanager
def taking(path: Path) -> Iterator[None]:
    """A block in which a run takes up the state in ``path``.

    Raises:
        UserError: something in the state does not fit the run.
    """
    try:
        yield
    except Exception as error:  # what a strange state makes of optimisers and generators
        raise UserError(
            f"{path} does not fit the run ({type(error).__name__}: {error}); --fresh makes the run "
            "anew"
        ) from error


class OptimizerState(TypedDict):
    """What torch writes of an optimiser."""

    state: dict[Any, Any]
    param_groups: Annotated[list[dict[str, Any]], Field(min_length=1)]


@with_config(ConfigDict(strict=True))
class _TrainingState(TypedDict, total=False):
    """What a fit goes on from."""

    model: Required[dict[str, Any]]
    optimizer: Required[OptimizerState]
    epoch: Required[NonNegativeInt]
    stop_reason: Required[str | None]
    callbacks: Required[dict[str, dict[str, Any]]]
    random: Required[dict[str, Any]]


_TRAINING_STATE = TypeAdapter(_TrainingState)


def why_not_to_go_on(state: State, epochs: int, optimizer: torch.optim.Optimizer) -> str | None:
    """What keeps a fit of ``epochs`` epochs from going on from ``state``; None where nothing does.

    ``optimizer`` is the fit's, or one of the same kind.

    The weights' shapes are another matter, see `misfit`.
    """
    problem = why_no_training_state(state, optimizer)
    if problem is None and state["epoch"] >= epochs:
        return f"has seen {state['epoch']} epochs, so nothing is left of 'epochs' = {epochs}"
    return problem


def why_no_training_state(state: State, optimizer: torch.optim.Optimizer) -> str | None:
    """What is wrong with ``state`` as that of a fit with such an optimizer; None if nothing."""
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
