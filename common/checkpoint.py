"""Checkpoints: plain tensors, numbers and containers, written whole, read without running code."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import UserError
from common.run_folder import replacing

LAST = "last.pt"
_BEFORE_LAST = "previous.pt"


def save(path: Path, state: dict[str, Any]) -> None:
    """Puts ``state`` into ``path``, whole or not at all."""
    with replacing(path, num_bytes(state)) as file:
        torch.save(_without_shared_storage(state), file)


def num_bytes(state: Any) -> int:
    """What the tensors in ``state`` take on the disk, where tied ones stand but once."""
    return sum({tensor.data_ptr(): tensor.nbytes for tensor in _tensors(state)}.values())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


def _without_shared_storage(value: Any) -> Any:
    """``value`` with a copy of each tensor that is a part of a larger one.

    torch would save the larger one whole.
    """
    if isinstance(value, Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, dict):
        return type(value)((key, _without_shared_storage(part)) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(map(_without_shared_storage, value))
    return value


def save_last(folder: Path, state: dict[str, Any]) -> None:
    """Puts ``state`` into the folder's last checkpoint and keeps the one before it."""
    last, before = folder / LAST, folder / _BEFORE_LAST
    if last.exists():
        last.replace(before)
    save(last, state)


def load(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    Raises:
        UserError: no such file, not whole, or with objects other than plain weights, which are
            refused and never executed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused anyway
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError("no such file") from None
    except pickle.UnpicklingError:
        raise UserError(
            "not plain weights: loading it could run code, so it is refused; save a state_dict of "
            "tensors with torch.save"
        ) from None
    except Exception as error:  # what chance bytes make of an unpickler may be any
        first_line = str(error).partition("\n")[0] or "it ends too early"
        raise UserError(f"not a whole checkpoint: {first_line}") from None
    if not isinstance(state, dict):
        raise UserError("not a checkpoint: expected a dictionary of tensors")
    return state


def load_last(folder: Path) -> dict[str, Any] | None:
    """The folder's last whole checkpoint; None where there is none."""
    for name in (LAST, _BEFORE_LAST):
        try:
            return load(folder / name)
        except UserError:
            continue
    return None


_TRAINING_STATE = {"model", "optimizer", "epoch", "stop_reason", "callbacks", "random"}


def why_not_to_go_on(
    state: dict[str, Any], epochs: int, optimizer: torch.optim.Optimizer
) -> str | None:
    """What keeps a fit of ``epochs`` epochs from going on from ``state``; None where nothing does.

    ``optimizer`` is the fit's, or one of the same kind.

    The weights' shapes are another matter, see `misfit`.
    """
    missing = sorted(_TRAINING_STATE - state.keys())
    if missing:
        return (
            f"holds no training state (it lacks {', '.join(missing)}); name a last.pt of a run, or "
            "load weights alone"
        )
    if state["epoch"] >= epochs:
        return f"has seen {state['epoch']} epochs, so nothing is left of 'epochs' = {epochs}"
    keys = [set(given["param_groups"][0]) for given in (optimizer.state_dict(), state["optimizer"])]
    return None if keys[0] == keys[1] else "was made with another optimizer"


def weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """The model's weights in a checkpoint of this project, or in a bare state_dict.

    Raises:
        UserError: there are none.
    """
    found = state.get("model", state)
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise UserError("not a checkpoint: it holds no weights under 'model'")
    return found


def misfit(model: nn.Module, given: dict[str, Tensor]) -> str | None:
    """What keeps ``given`` from being the weights of ``model``, layer by layer; None if nothing."""
    expected = model.state_dict()
    wrong = [f"'{name}' is missing" for name in expected if name not in given]
    wrong += [f"'{name}' is not in the model" for name in given if name not in expected]
    wrong += [
        f"'{name}' has shape {list(given[name].shape)}, the model's has {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    return "does not fit the model: " + "; ".join(wrong) if wrong else None
