"""Checks for NaN and infinite numbers after an update, which stop the run with a clear message."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from common.errors import UserError
from common.training.epoch_means import NonFiniteError, check_finite, first_not_finite


def check_tensors(named: Mapping[str, Tensor], when: str, advice: str) -> None:
    """Check weights and model outputs, with one transfer from the device.

    Raises:
        UserError: a number is NaN or infinite; the message names it, ``when`` and ``advice``.
    """
    name = first_not_finite(named)
    if name is not None:
        raise UserError(f"{when}: '{name}' is not finite; {advice}")


def check_measured(measured: Mapping[str, float], when: str, advice: str) -> None:
    """Check losses and gradient norms; other measurements may be undefined.

    Steps that float16 loss scaling skipped have no gradient norm here.

    Raises:
        UserError: one is NaN or infinite; the message names it, ``when`` and ``advice``.
    """
    has_skipped = measured.get("mixed_precision/skipped_steps", 0.0) > 0
    kinds = ("loss",) if has_skipped else ("loss", "grad_norm")
    needed = {
        name: value for name, value in measured.items() if any(kind in name for kind in kinds)
    }
    try:
        check_finite(needed, when)
    except NonFiniteError as error:
        raise UserError(f"{error}; {advice}") from None
