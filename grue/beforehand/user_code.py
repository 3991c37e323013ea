"""Parts outside the project that fail while they are looked at."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

from common.errors import UserError
from common.registry import CUSTOM


@contextlib.contextmanager
def failing_as(name: str) -> Iterator[None]:
    """Inside the block, what a custom part called ``name`` raises is told with file and line."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if not name.startswith(CUSTOM):
            raise
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise UserError(
            f"'{name}' raised {type(error).__name__}: {error} "
            f"({Path(frame.filename).name}, line {frame.lineno})"
        ) from error
