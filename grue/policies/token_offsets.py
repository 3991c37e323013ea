"""Offsets of tokens: the characters of a text to which each of its tokens belongs."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence

from grue.policies.prompt_encoder import Tokens
from grue.texts import Offset

_INVALID = "\ufffd"
"""Character that stands for bytes which are none, whose number may depend on later bytes."""


def token_offsets(
    ids: Tokens, decode: Callable[[Tokens], str], skipped: Collection[int] = ()
) -> list[Offset]:
    """Return the (start, end) of the characters of ``decode(ids)`` that each token writes.

    A character of several bytes belongs to every token that has one of them, so that neighbours may
    overlap. A token that writes nothing has an empty range where it stands. Texts are decoded a few
    tokens at a time, and the time grows with their number.

    Args:
        ids: tokens of one text.
        decode: function from tokens to their text; what a token writes may depend on the one
            before, but not on later ones, except for characters that it leaves incomplete.
        skipped: ids that ``decode`` leaves out.

    Raises:
        ValueError: the text is not what its tokens write one after another.
    """
    text, found = decode(ids), list[Offset]()
    context, read = 0, 0  # tokens from `context` on are decoded, those before `read` are known
    known, begin = "", 0  # their text, and the number of characters complete before them
    done = 0  # characters of the text that tokens before `read` write
    for count, token in enumerate(ids, start=1):
        if token in skipped:
            found.append((begin, begin))
            continue
        written = decode(ids[context:count])[len(known) :]
        whole = _agreeing(written, text[done : done + len(written)])
        is_cut = len(written) > whole  # its last bytes begin a character
        found.append((begin, done + whole + is_cut))
        begin = done + whole
        if written and not is_cut and not written.endswith(_INVALID):
            context, read, done = read, count, begin
            known = decode(ids[context:read])
    if begin != len(text):
        raise ValueError(
            "the text of its tokens together is another than that of one after another"
        )
    return found


def _agreeing(first: str, second: str) -> int:
    """Return the number of characters up to the first that differs."""
    equal = (one == other for one, other in zip(first, second, strict=False))
    return sum(itertools.takewhile(bool, equal))


def moved(offsets: Sequence[Offset], kept: Sequence[int]) -> list[Offset]:
    """Return the offsets in a text that has some characters of the first one alone.

    ``kept`` are the rising indices of these characters in the first text. A token of which none is
    kept has an empty range where it stood.
    """
    return [(bisect_left(kept, start), bisect_left(kept, end)) for start, end in offsets]
