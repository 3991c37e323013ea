"""Preferences from an extraction: among each input's samples, the best by a metric is preferred."""

from __future__ import annotations

from collections.abc import Iterator

from common.config.fit import PositiveInt
from grue.tasks.choices.rows import Choice
from grue.tasks.sources.held_out import LocalArgs
from grue.tasks.sources.local_files import path_error, read_rows, split_file
from grue.tasks.sources.raw_rows import RawRow
from grue.tasks.task import TASKS, Sample, Split, Task

_NEEDED = ("index", "sample_id", "prompt", "output")


class RankedSamplesArgs(LocalArgs):
    """Keys of the task of ranked samples; ``path`` is a table such as ``"@before.samples"``."""

    metric: str
    """Column that ranks an input's samples, such as ``lexical/length``; its values are their
    ratings."""
    num_samples: PositiveInt | None = None
    """Number of samples of each input that are compared, the first ones; None for all."""


@TASKS.register("ranked_samples")
class RankedSamples(Task[RankedSamplesArgs]):
    """Groups of an extraction's samples with known ratings.

    Groups in which several samples share the best rating are dropped, because they give no
    preference.
    """

    Args = RankedSamplesArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return one sample per input with a single best output."""
        found = [choice.as_sample(f"{split}_{index}") for index, choice in self._choices()]
        if not found:
            raise path_error(
                self.args.path,
                f"no input has a single best sample by '{self.args.metric}'; take another metric, "
                "or draw more samples",
            )
        return list(self.args.part(found, split))

    def _choices(self) -> Iterator[tuple[int, Choice]]:
        by_input: dict[int, list[RawRow]] = {}
        for row in self._rows():
            by_input.setdefault(row["index"], []).append(row)
        for index, rows in by_input.items():
            compared = sorted(rows, key=lambda row: row["sample_id"])[: self.args.num_samples]
            ratings = [float(row[self.args.metric]) for row in compared]
            best = max(ratings)
            if len(ratings) > 1 and ratings.count(best) == 1:
                outputs = tuple(row["output"] for row in compared)
                yield (
                    index,
                    Choice(rows[0]["prompt"], outputs, ratings.index(best), tuple(ratings)),
                )

    def _rows(self) -> list[RawRow]:
        file = split_file(self.args.path, "train", (".parquet",))
        rows = read_rows(file)
        missing = [name for name in (*_NEEDED, self.args.metric) if rows and name not in rows[0]]
        if missing:
            raise path_error(file, f"has no column '{missing[0]}'; its columns are "
                             f"{', '.join(rows[0])}")  # fmt: skip
        return rows
