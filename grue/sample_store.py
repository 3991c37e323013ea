"""Samples on the disk while they are being drawn: one part per batch, each whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from common.run_folder import write_table

if TYPE_CHECKING:
    import pandas as pd


class SampleStore:
    """Parts of the table of samples, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, number: int, rows: pd.DataFrame) -> None:
        """Puts part ``number`` in the place of what it was."""
        write_table(self._path(number), rows)

    def has(self, number: int) -> bool:
        """Whether the part is there."""
        return self._path(number).exists()

    def read(self, number: int) -> pd.DataFrame:
        """The rows of a part."""
        import pandas as pd

        return pd.read_parquet(self._path(number))

    def all_rows(self) -> pd.DataFrame:
        """The rows of all parts."""
        import pandas as pd

        return pd.concat([pd.read_parquet(path) for path in self._paths()], ignore_index=True)

    def clear(self) -> None:
        """Takes all parts away."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.parquet"

    def _paths(self) -> Iterator[Path]:
        yield from sorted(self._folder.glob("[0-9]*.parquet"))
