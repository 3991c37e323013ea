"""Plain text, split into samples to pretrain a small model on."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from common.config.fit import PositiveInt
from grue.tasks.sources.held_out import LocalArgs
from grue.tasks.sources.local_files import path_error, read_text, split_file
from grue.tasks.task import TASKS, Sample, Split, Task

Unit = Literal["words", "lines", "paragraphs"]

_UNITS: dict[Unit, re.Pattern[str]] = {
    "words": re.compile(r"\S+\s*"),
    "lines": re.compile(r"[^\n]*\S[^\n]*\n?(?:[^\S\n]*\n)*"),
    "paragraphs": re.compile(r"\S(?:.*?)(?:\n\s*\n|\Z)", re.DOTALL),
}
"""Pattern of one unit, with the white space after it."""


class TextArgs(LocalArgs):
    """Keys of the plain text task.

    The path is a file of any name, or a folder with train.txt, validation.txt and test.txt.
    """

    unit: Unit = "words"
    """Unit of the text: words, lines that are not blank, or paragraphs between blank lines."""
    size: PositiveInt = 100
    """Number of units of a sample; the last sample may have fewer."""


@TASKS.register("text")
class Text(Task[TextArgs]):
    """Consecutive pieces of a text."""

    Args = TextArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return one sample for each piece: an empty prompt, and the piece as only reference."""
        args = self.args
        if args.is_single_file():
            pieces = args.part(self._pieces(Path(args.path)), split)
        else:
            pieces = self._pieces(split_file(args.path, split, (".txt",)))
        return [Sample(f"{split}_{i}", "", (piece,)) for i, piece in enumerate(pieces)]

    def _pieces(self, file: Path) -> Sequence[str]:
        units, size = _UNITS[self.args.unit].findall(read_text(file)), self.args.size
        if not units:
            raise path_error(file, "the file has no text")
        return ["".join(units[i : i + size]).strip() for i in range(0, len(units), size)]
