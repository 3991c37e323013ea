"""Texts in any script as tokens, and the warning of a metric that sees none in them."""

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
    """The runs of letters, combining marks and digits of a text in small letters."""
    found: list[str] = _compiled(_WORD).findall(text.lower())
    return found


def characters(text: str) -> list[str]:
    """The characters of a text (its code points) that are not blank."""
    return [character for character in text if not character.isspace()]


def is_written_without_blanks(text: str) -> bool:
    """Whether a text has characters of a script that puts no blanks between words."""
    return _compiled(_WITHOUT_BLANKS).search(text) is not None


@cache
def _compiled(pattern: str) -> regex.Pattern[str]:
    import regex

    return regex.compile(pattern)


class Sight:
    """Warns, once, of references in which a metric finds too few tokens to tell outputs apart.

    These are texts without any token, and texts written without blanks that have fewer tokens than
    the metric needs. A text whose characters are too few as well is not told of: no tokenizer mends
    it.
    """

    def __init__(
        self, metric: str, tokens: Callable[[str], Sequence[str]], fix: str, *, needed: int = 2
    ) -> None:
        """``fix`` is what the user can do, as an imperative; ``needed`` counts tokens."""
        self._metric = metric
        self._tokens = tokens
        self._fix = fix
        self._needed = needed
        self._has_warned = False

    def look(self, texts: Texts) -> None:
        """Warns if all references of an input are such texts, unless it has warned before."""
        if self._has_warned:
            return
        inputs = dict.fromkeys(zip(texts.prompts, map(tuple, texts.references), strict=True))
        unseen = [references for _, references in inputs if all(map(self._is_lost, references))]
        if unseen:
            self._has_warned = True
            log.warning(
                "'%s' finds too few tokens in the references of %d of %d inputs, such as %r, so "
                "that it can hardly tell outputs apart; %s",
                self._metric, len(unseen), len(inputs), unseen[0][0][:_SHOWN], self._fix,
            )  # fmt: skip

    def _is_lost(self, text: str) -> bool:
        if text.isascii():
            return False
        needed = self._needed if is_written_without_blanks(text) else 1
        return len(self._tokens(text)) < needed <= len(characters(text))
