"""Checkpoints: plain tensors, numbers and containers, read without running code."""

from __future__ import annotations

import logging
import pickle
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from common import distributed
from common.errors import UserError
from common.run.folder import replacing
from common.run.lease import check_lease
from common.run.record_schemas import DamagedError

log = logging.getLogger(__name__)

LAST = "last.pt"
_BEFORE_LAST = "previous.pt"

_NO_MEMORY = "DefaultCPUAllocator"
"""Part of torch's message about a lack of memory, which is no damage."""

State = dict[str, Any]


def save(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path``, completely or not at all."""
    with replacing(path, num_bytes(state)) as file:
        torch.save(_without_shared_storage(state), file)


def num_bytes(state: Any) -> int:
    """Return the bytes of the tensors in ``state`` on the disk; tied ones are counted once."""
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
    """Return ``value`` with a copy of each tensor that is a part of a larger one.

    torch would save the larger one whole.
    """
    if isinstance(value, Tensor):
        return value.clone() if value.untyped_storage().nbytes() > value.nbytes else value
    if isinstance(value, dict):
        return type(value)((key, _without_shared_storage(part)) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return type(value)(map(_without_shared_storage, value))
    return value


def save_last(folder: Path, state: State) -> None:
    """Write ``state`` as the folder's last checkpoint and keep the one before it.

    At every moment the folder has a complete state. A damaged checkpoint never replaces the one
    before it.
    """
    last = folder / LAST
    with replacing(last, num_bytes(state)) as file:
        torch.save(_without_shared_storage(state), file)
        if last.exists() and _damage(last) is None:
            check_lease(last)
            last.replace(folder / _BEFORE_LAST)


def load(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, on the CPU.

    Raises:
        UserError: the file is missing, a folder or incomplete, or contains objects other than plain
            weights, which are refused and never executed.
    """
    try:
        damage = _damage(path) if zipfile.is_zipfile(path) else None
        if damage is not None:
            raise UserError(f"not a whole checkpoint: {damage}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused anyway
            state = torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError("no such file") from None
    except IsADirectoryError:
        raise UserError("is a folder; name the checkpoint in it, such as last.pt") from None
    except pickle.UnpicklingError:
        raise UserError(
            "not plain weights: loading it could run code, so it is refused; save a state_dict of "
            "tensors with torch.save"
        ) from None
    except Exception as error:  # what chance bytes make of an unpickler may be any
        if isinstance(error, MemoryError) or _NO_MEMORY in str(error):
            raise
        first_line = str(error).partition("\n")[0] or "it ends too early"
        raise UserError(f"not a whole checkpoint: {first_line}") from None
    if not isinstance(state, dict):
        raise UserError("not a checkpoint: expected a dictionary of tensors")
    return state


def _damage(path: Path) -> str | None:
    """Return the first part of torch's file whose checksum is wrong; None if there is none.

    torch itself does not check the sums that it writes.
    """
    try:
        with zipfile.ZipFile(path) as file:
            part = file.testzip()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        return str(error)
    return None if part is None else f"the checksum of its part {part} is another"


def load_last(
    folder: Path, why_unfit: Callable[[State], str | None] = lambda state: None
) -> State | None:
    """Return the folder's last complete state that ``why_unfit`` accepts.

    None if there is none. Damaged files are logged and removed, so that they replace no good one.
    All ranks call it.
    """
    state = _settled(folder, why_unfit) if distributed.is_main() else None
    distributed.broadcast(None)  # the others read what the first has settled
    last = folder / LAST
    return load(last) if state is None and last.exists() else state


def _settled(folder: Path, why_unfit: Callable[[State], str | None]) -> State | None:
    """Return the last good state, which is then in ``last.pt``."""
    last, before = folder / LAST, folder / _BEFORE_LAST
    if not (last.exists() or before.exists()):
        return None
    try:
        return _fitting(last, why_unfit)
    except DamagedError as damage:
        first = damage
    try:
        state = _fitting(before, why_unfit)
    except DamagedError as second:
        log.warning(
            "%s, and %s; no state is left, so the run starts again from the beginning",
            first,
            second,
        )
        for path in (last, before):
            path.unlink(missing_ok=True)
        return None
    before.replace(last)
    log.warning("%s; the run resumes from the state before, %s", first, before)
    return state


def _fitting(path: Path, why_unfit: Callable[[State], str | None]) -> State:
    try:
        path.open("rb").close()
    except FileNotFoundError:
        raise DamagedError(f"{path} is missing") from None
    try:
        state = load(path)
        problem = why_unfit(state)
    except UserError as error:
        problem = str(error)
    if problem is not None:
        raise DamagedError(f"{path} is damaged ({problem})")
    return state


class HasState(Protocol):
    """A model, or another object with weights."""

    def state_dict(self) -> dict[str, Any]:
        """Return the weights by name."""


def weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """Return the model's weights in a checkpoint of this project, or in a bare state_dict.

    Raises:
        UserError: it has no weights.
    """
    found = state.get("model", state)
    if not isinstance(found, dict) or not all(isinstance(t, Tensor) for t in found.values()):
        raise UserError("not a checkpoint: it holds no weights under 'model'")
    return found


def misfit(model: HasState, given: dict[str, Tensor]) -> str | None:
    """Return why ``given`` are not the weights of ``model``, layer by layer; None if they are."""
    expected = model.state_dict()
    wrong = [f"'{name}' is missing" for name in expected if name not in given]
    wrong += [f"'{name}' is not in the model" for name in given if name not in expected]
    wrong += [
        f"'{name}' has shape {list(given[name].shape)}, the model's has {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in given and given[name].shape != tensor.shape
    ]
    return "does not fit the model: " + "; ".join(wrong) if wrong else None
