"""GSM8K: grade school mathematics in words, with worked solutions (Cobbe et al., 2021)."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from grue.tasks.chat import ChatArgs
from grue.tasks.prompt_template import PromptedArgs
from grue.tasks.sources.hub_rows import Hub
from grue.tasks.sources.local_files import has_split
from grue.tasks.sources.rows import Row, load_rows
from grue.tasks.task import TASKS, Sample, Split, Task

_HUB = Hub("openai/gsm8k", {"name": "main"})
_CALCULATION = re.compile(r"<<[^<>]*>>")
_MARKER = "####"


class Gsm8kArgs(ChatArgs, PromptedArgs):
    """Keys of the GSM8K task."""

    calculations: bool = False
    """If true, references keep the marks of calculations, such as ``<<48/2=24>>``; otherwise these
    are taken out."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the training rows, the last ones, that are the validation split instead. Local data
    with a validation file keep all training rows."""


class _Problem(Row):
    question: str
    answer: str

    @field_validator("answer")
    @classmethod
    def _has_a_final_answer(cls, answer: str) -> str:
        if not answer.rpartition(_MARKER)[2].strip() or _MARKER not in answer:
            raise ValueError(f"needs the final answer after {_MARKER}; found {answer[-40:]!r}")
        return answer


@TASKS.register("gsm8k")
class Gsm8k(Task[Gsm8kArgs]):
    """Problems in words: columns ``question`` and ``answer``, which ends in ``#### 42``."""

    Args = Gsm8kArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the question between prefix and suffix; the solution is the only reference."""
        found = [
            Sample(f"{split}_{i}", self.args.prompt(row.question), (self._solution(row.answer),))
            for i, row in enumerate(self._rows(split))
        ]
        return self.args.in_form(found)

    def _rows(self, split: Split) -> list[_Problem]:
        args = self.args
        hub = _HUB.at(args.revision)
        if split == "test" or (args.path is not None and has_split(args.path, "val")):
            return load_rows(_Problem, args.path, split, hub)
        rows = load_rows(_Problem, args.path, "train", hub)
        num_kept = len(rows) - round(args.held_out * len(rows))
        return rows[:num_kept] if split == "train" else rows[num_kept:]

    def _solution(self, answer: str) -> str:
        return answer if self.args.calculations else _CALCULATION.sub("", answer)
