"""DailyDialog: the next turn of a conversation (Li et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from grue.tasks.sources.hub_rows import Hub
from grue.tasks.sources.rows import Nested, Row, load_rows
from grue.tasks.task import TASKS, HubTaskArgs, Sample, Split, Task

EOU = "<EOU>"
"""End-of-turn mark; ordinary text for the model, not a token of its own."""

_HUB = Hub("OpenRL/daily_dialog")


class DailyDialogArgs(HubTaskArgs):
    """Keys of the DailyDialog task."""

    context_size: Annotated[int, Field(gt=0)]
    """Number of turns before the target turn; turns with fewer before them are no targets."""


class _Dialogue(Row):
    dialog: Nested[list[str]]
    act: Nested[list[int]]
    emotion: Nested[list[int]]

    @model_validator(mode="after")
    def _labels_for_each_turn(self) -> _Dialogue:
        lengths = len(self.dialog), len(self.act), len(self.emotion)
        if len(set(lengths)) > 1:
            raise ValueError("{} turns have {} acts and {} emotions".format(*lengths))
        return self


@TASKS.register("daily_dialog")
class DailyDialog(Task[DailyDialogArgs]):
    """Conversations: columns ``dialog``, ``act`` and ``emotion``, each a list over the turns."""

    Args = DailyDialogArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return one sample for each turn with enough turns before it.

        Its id is the turn's number among all of the split. The metadata are ``intent`` (1 inform,
        2 question, 3 directive, 4 commissive) and ``emotion``, each a list of one number.
        """
        first = 0
        samples: list[Sample] = []
        for row in load_rows(_Dialogue, self.args.path, split, _HUB.at(self.args.revision)):
            samples += _samples(row, first, self.args.context_size)
            first += len(row.dialog)
        return samples


def _samples(row: _Dialogue, first: int, context_size: int) -> Iterator[Sample]:
    """Yield the samples of one conversation; turn numbers start at ``first``."""
    for turn in range(context_size, len(row.dialog)):
        context = EOU.join(row.dialog[turn - context_size : turn])
        yield Sample(
            str(first + turn),
            f"{context} {EOU}",
            (row.dialog[turn] + EOU,),
            {"emotion": [row.emotion[turn]], "intent": [row.act[turn]]},
        )
