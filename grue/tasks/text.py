"""Plain text, cut into samples on which a small model is pretrained."""

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
"""What one unit is, with the white space behind it."""


class TextArgs(LocalArgs):
    """The keys of the plain text task.

    The path is a file of any name, or a folder with train.txt, validation.txt and test.txt.
    """

    unit: Unit = "words"
    """Where samples may begin: at words, at lines that are not blank, or after blank lines."""
    size: PositiveInt = 100
    """Words, lines or paragraphs of a sample; the last sample may have fewer."""


@TASKS.register("text")
class Text(Task[TextArgs]):
    """Pieces of a text, in its order."""

    Args = TextArgs

    def samples(self, split: Split) -> list[Sample]:
        """One sample for each piece: no prompt, and the piece as the one reference."""
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
