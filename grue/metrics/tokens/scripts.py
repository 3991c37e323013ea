"""Tokens of texts in any script, and the warning of a metric that finds none in them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from grue.texts import Texts

if TYPE_CHECKING:
    import regex

log = logging.getLogger(__name__)

_WORD = r"[\p{L}\p{M}\p{N}]+"
_WITHOUT_BLANKS = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"
_SHOWN = 40


def unicode_words(text: str) -> list[str]:
    """Return the runs of letters, combining marks and digits of a text, lower-cased."""
    found: list[str] = _compiled(_WORD).findall(text.lower())
    return found


def characters(text: str) -> list[str]:
    """Return the characters (code points) of a text that are not blank."""
    return [character for character in text if not character.isspace()]


def is_written_without_blanks(text: str) -> bool:
    """Return whether a text has characters of a script without blanks between words."""
    return _compiled(_WITHOUT_BLANKS).search(text) is not None


@cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    import regex

    return regex.compile(pattern)


class Sight:
    """Warning, given once, of references with too few tokens to distinguish outputs.

    It concerns texts without any token, and texts written without blanks that have fewer tokens
    than the metric needs. There is no warning of a text with too few characters, because no
    tokenizer would help.
    """

    def __init__(
        self, metric: str, tokens: Callable[[str], Sequence[str]], fix: str, *, needed: int = 2
    ) -> None:
        """Set the advice ``fix``, as an imperative, and the number of tokens ``needed``."""
        self._metric = metric
        self._tokens = tokens
        self._fix = fix
        self._needed = needed
        self._has_warned = False

    def look(self, texts: Texts) -> None:
        """Warn if no reference of an input has enough tokens, unless it has warned before."""
        if self._has_warned:
            return
        inputs = dict.fromkeys(zip(texts.prompts, map(tuple, texts.references), strict=True))
        unseen = [references for _, references in inputs if all(map(self._is_lost, references))]
        if unseen:
            self._has_warned = True
            log.warning(
                "'%s' finds too few tokens in the references of %d of %d inputs, such as %r, so "
                "that it can hardly distinguish outputs; %s",
                self._metric, len(unseen), len(inputs), unseen[0][0][:_SHOWN], self._fix,
            )  # fmt: skip

    def _is_lost(self, text: str) -> bool:
        if text.isascii():
            return False
        needed = self._needed if is_written_without_blanks(text) else 1
        return len(self._tokens(text)) < needed <= len(characters(text))
