"""Rows of a user's table as samples: prompts with references."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grue.tasks.row_columns import RowColumns, from_cell, from_value
from grue.tasks.sources.held_out import LocalArgs
from grue.tasks.sources.local_files import at_path, path_error, read_rows, split_file
from grue.tasks.sources.raw_rows import place_of
from grue.tasks.task import TASKS, Sample, Split, Task


class JsonlArgs(RowColumns, LocalArgs):
    """Keys of the task of a table's rows."""


@TASKS.register("jsonl")
class Jsonl(Task[JsonlArgs]):
    """Rows of a JSONL, JSON, CSV or parquet file; further columns become metadata."""

    Args = JsonlArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return one sample for each row."""
        found = [replace(sample, id=f"{split}_{i}") for i, sample in enumerate(self._rows(split))]
        return self.args.in_form(found)

    def _rows(self, split: Split) -> Sequence[Sample]:
        """Return the samples of the split's rows, without ids."""
        single = self.args.is_single_file()
        file = split_file(self.args.path, "train" if single else split)
        rows = read_rows(file)
        if not rows:
            raise path_error(file, "there are no rows; at least one is needed")
        parse = from_cell if file.suffix.lower() == ".csv" else from_value
        samples = [
            self.args.sample(row, f"{at_path(file)}, {place_of(row, number)}", parse)
            for number, row in enumerate(rows, start=1)
        ]
        return self.args.part(samples, split) if single else samples
