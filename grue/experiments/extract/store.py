"""Store of samples on the disk during extraction: one part per batch, each complete or missing."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from common.run.folder import read_table, write_table
from common.run.record_schemas import DamagedError

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class SampleStore:
    """Parts of the table of samples, in a folder of their own."""

    def __init__(self, folder: Path, columns: Sequence[str]) -> None:
        """Open the store; ``columns`` are the first ones of each part."""
        self._folder = folder
        self._columns = columns

    def write(self, number: int, rows: pd.DataFrame) -> None:
        """Write part ``number``, or replace it."""
        write_table(self._path(number), rows)

    def read(self, number: int, index: Sequence[int]) -> pd.DataFrame | None:
        """Return the rows of a part with the inputs ``index``; None if they are to be sampled.

        A damaged part is logged.
        """
        path = self._path(number)
        if not path.exists():
            return None
        try:
            found = read_table(path, self._columns)
            if found["index"].tolist() != list(index):
                raise DamagedError(f"{path} holds samples of other inputs")
        except DamagedError as error:
            log.warning("%s; its samples are drawn again", error)
            return None
        return found

    def tell_of_strangers(self, count: int) -> None:
        """Log the files that are none of the ``count`` parts; they are not read."""
        own = {self._path(number) for number in range(count)}
        for path in sorted(set(self._folder.glob("*")) - own):
            log.warning("%s is no part of this run's samples and is not used", path)

    def clear(self) -> None:
        """Remove all parts."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"
