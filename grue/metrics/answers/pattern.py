"""Key of a pattern that finds answers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from common.config.base import Config, OptionalText
from common.errors import Problem


class PatternArgs(Config):
    """Key of finding an answer by a pattern."""

    pattern: OptionalText = None
    """Regular expression whose last match is the answer (its first group, if it has groups), such
    as ``"(?s)<answer>(.*?)</answer>"``; None (or the empty string) for none."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a pattern that is no regular expression."""
        yield from super().problems()
        try:
            self.compiled()
        except re.error as error:
            yield Problem(f"is no regular expression ({error})", "pattern", self.pattern)

    def compiled(self) -> re.Pattern[str] | None:
        """Return the pattern; None if none is given."""
        return None if self.pattern is None else re.compile(self.pattern)
