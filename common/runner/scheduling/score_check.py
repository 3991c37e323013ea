"""Check of a run's return value, which is its score."""

from __future__ import annotations

import math
from typing import Any

from common.custom.hooks import shown
from common.errors import UserError


def checked_score(returned: Any) -> float | None:
    """Return the score of a run, or None for a run without one.

    Raises:
        UserError: the value is neither None nor a finite number.
    """
    if returned is None:
        return None
    is_number = hasattr(returned, "__float__") and not isinstance(returned, bool)
    try:
        if is_number and math.isfinite(float(returned)):
            return float(returned)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # an array of several numbers
        pass
    raise UserError(
        f"the run returned {shown(returned)}; a run returns its score, a finite number, or None"
    )
