"""Where a query begins and ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from grue.tasks.queries.tokens import cut_query

STOP = 13


@pytest.mark.parametrize(
    ("tokens", "args", "query"),
    [
        ([1, 2, 3, 4], {}, [1, 2, 3]),
        ([], {}, None),
        # behind the first start, if something remains there
        ([1, 13, 2, 13, 3], {"start": STOP}, [2, 13, 3]),
        ([13, 2], {"start": STOP}, [2]),
        ([1, 2, 13], {"start": STOP}, [1, 2, 13]),
        ([1, 2, 3, 13], {"start": STOP}, [1, 2, 3]),
        ([1, 2], {"start": STOP}, None),
        ([1, 2], {"start": STOP, "keep_unmarked": True}, [1, 2]),
        # behind the last end among those that are kept
        ([1, 13, 2, 13], {"end": STOP}, [1, 13]),
        ([13, 13, 2], {"end": STOP}, [13, 13]),
        ([1, 2, 3, 13], {"end": STOP}, None),
        ([1, 2, 3, 13], {"end": STOP, "keep_unmarked": True}, [1, 2, 3]),
        # both: cropped between the two
        ([1, 13, 2, 13, 3, 13], {"start": STOP, "end": STOP}, [2, 13]),
        ([1, 13, 2, 3, 4, 13], {"start": STOP, "end": STOP}, None),
    ],
)
def test_queries_of_at_most_three_tokens(
    tokens: list[int], args: dict[str, Any], query: list[int] | None
) -> None:
    given = list(tokens)
    assert cut_query(tokens, 3, **args) == query
    assert tokens == given


@pytest.mark.parametrize("keep", [False, True])
def test_a_query_is_a_part_of_its_text(keep: bool) -> None:
    draw = np.random.default_rng(0)
    for _ in range(500):
        tokens = draw.integers(0, 4, draw.integers(0, 12)).tolist()
        start, end = (int(mark) if mark < 4 else None for mark in draw.integers(0, 5, 2))
        length = int(draw.integers(1, 8))
        query = cut_query(tokens, length, start=start, end=end, keep_unmarked=keep)
        if query is None:
            assert not tokens or not keep
            continue
        assert 1 <= len(query) <= length
        places = [i for i in range(len(tokens)) if tokens[i : i + len(query)] == query]
        first = tokens.index(start) + 1 if start in tokens else 0
        assert (first if first < len(tokens) else 0) in places
        assert query[-1] == end or end is None or (keep and end not in query)
