"""Numerics of torch: precision and determinism, set anew for each attempt at a run."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from common.errors import UserError, text_of
from common.machine.devices import VISIBLE
from common.process.when_loaded import when_loaded

if TYPE_CHECKING:
    from common.config.run import RunConfig

_WORKSPACES = "CUBLAS_WORKSPACE_CONFIG"
_REPEATABLE = (":4096:8", ":16:8")
"""Workspaces with which cuBLAS adds in the same order every time."""
_REFUSAL = " does not have a deterministic implementation"
"""End of torch's message about an operation without a deterministic algorithm."""


def set_numerics(config: RunConfig) -> None:
    """Set torch's numerics by the run's keys, whatever an earlier run of the process has set.

    If torch is not loaded, this is done once it is. It must be called before CUDA starts, because
    cuBLAS reads its workspaces once per process.

    Raises:
        UserError: the environment asks cuBLAS for workspaces that are not deterministic.
    """
    workspaces = os.environ.setdefault(_WORKSPACES, _REPEATABLE[0])
    if config.deterministic and workspaces not in _REPEATABLE:
        raise UserError(
            f"'deterministic' = true: the environment variable {_WORKSPACES} is {workspaces!r}; "
            f"unset it, or set it to '{_REPEATABLE[0]}'"
        )
    when_loaded("torch", "numerics", functools.partial(_set_torch, config))


def _set_torch(config: RunConfig) -> None:
    _use_defaults()
    _use_tf32(config.tf32)
    _use_deterministic_algorithms(config.deterministic)


def _use_defaults() -> None:
    import torch

    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)


def _use_tf32(tf32: bool) -> None:
    """Make GPUs multiply float32 numbers as TensorFloat-32, or exactly.

    torch has a general setting, one per kind of operation, and older flags, and raises an error if
    an older flag is read that contradicts them. Therefore all are set to the same. Those per
    operation take effect, so that a library which changes the general one does not change them.
    """
    import torch

    backends: Any = torch.backends
    backends.fp32_precision = "none"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    backends.cudnn.allow_tf32 = tf32
    for operation in (backends.cudnn.conv, backends.cudnn.rnn):
        operation.fp32_precision = "tf32" if tf32 else "ieee"


def _use_deterministic_algorithms(deterministic: bool) -> None:
    import torch

    torch.backends.cudnn.deterministic = deterministic
    torch.backends.cudnn.benchmark = False
    refusing = 2  # of the three debug modes; 0 is none
    if torch.get_deterministic_debug_mode() != (refusing if deterministic else 0):
        torch.use_deterministic_algorithms(deterministic)  # not at all times: it imports a compiler


def seed_torch(seed: int) -> None:
    """Seed torch's global generators, of all devices that this process sees."""
    import torch

    if os.environ.get(VISIBLE) == "":  # torch would keep a note for devices that never start
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def explained(error: BaseException) -> BaseException:
    """Return torch's refusal of a non-deterministic algorithm as a `UserError`.

    Other errors are returned unchanged.
    """
    operation, is_refusal, _ = text_of(error).partition(_REFUSAL)
    if not isinstance(error, RuntimeError) or not is_refusal:
        return error
    return UserError(
        f"'deterministic' = true: torch has no deterministic algorithm for '{operation}' on this "
        "device; set it to false, or take a model or method that does without the operation"
    )
