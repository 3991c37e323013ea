"""Query of a text's tokens: its beginning, its end and its largest length."""

from __future__ import annotations

from collections.abc import Sequence


def cut_query(
    tokens: Sequence[int],
    length: int,
    *,
    start: int | None = None,
    end: int | None = None,
    keep_unmarked: bool = False,
) -> list[int] | None:
    """Return the part of a text that is a query (arXiv 1909.08593, its program), without padding.

    Args:
        tokens: ids of the whole text.
        length: largest number of tokens after the start.
        start: its first occurrence and all before it are dropped, if anything follows; None for the
            text's beginning.
        end: all after its last occurrence among the kept tokens is dropped; None for none.
        keep_unmarked: if true, a text without the start or the end token is not cut there.
            Otherwise it is no query.

    Returns:
        One or more ids; None if the text gives no query.
    """
    query = list(tokens)
    if start is not None:
        if start in query:
            query = query[query.index(start) + 1 :] or query
        elif not keep_unmarked:
            return None
    query = query[:length]
    if end is not None:
        if end in query:
            query = query[: len(query) - query[::-1].index(end)]
        elif not keep_unmarked:
            return None
    return query or None
