"""A text's tokens as a query: where it begins, where it ends, how long it may be."""

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
    """The part of a text that is a query (arXiv 1909.08593, its program); it is never padded.

    Args:
        tokens: ids of the whole text.
        length: most tokens that are kept, of those behind the start.
        start: all up to and with its first occurrence goes, where something follows; None for the
            text's beginning.
        end: all behind its last occurrence among those kept goes; None for none.
        keep_unmarked: whether a text in which the start or the end does not occur stays whole
            there. Otherwise it is no query.

    Returns:
        Ids, one or more; None where the text gives no query.
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
