"""Base of all figures' options, shared by a plan's ``figures`` and the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from common.config.base import Config
from common.errors import Problem
from plots.needs.planned import PlannedRun, none_logs
from plots.needs.wanted import Wanted, drawn, none_leaves


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


class FigureOptions(Config):
    """Base of the options of a figure: each field is a key in a plan and a ``--key`` in a shell."""

    example: ClassVar[str] = ""
    """Options of a typical call, as a shell takes them."""
    wanted: ClassVar[Wanted | None] = None
    """Table that a run must have to be drawn; None if the figure itself says what it needs."""
    metric_keys: ClassVar[Sequence[str]] = ()
    """Options whose values are metrics as runs log them."""

    only: Annotated[str, AfterValidator(_pattern)] = ""
    """Regular expression; only runs with a match in their folder's name are drawn."""

    def lacking(self, runs: Sequence[PlannedRun]) -> Iterator[Problem]:
        """Yield what the figure needs and none of a plan's runs will have, as far as keys tell."""
        if self.wanted is None:
            return
        yield from none_leaves(runs, self.wanted)
        for key in self.metric_keys:
            value = getattr(self, key) or []
            for metric in [value] if isinstance(value, str) else value:
                yield from none_logs(drawn(runs, self.wanted), key, metric)

    def changes(self) -> Iterator[str]:
        """Yield the options that differ from their defaults, in words for a file name."""
        for key, field in type(self).model_fields.items():
            value = getattr(self, key)
            if value == field.get_default(call_default_factory=True):
                continue
            if isinstance(value, bool):
                yield key if value else f"no_{key}"
            else:
                values = value if isinstance(value, list) else [value]
                yield "-".join([key, *(str(item).replace(" ", "_") for item in values)])
