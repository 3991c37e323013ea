"""Putting English text together again."""

from __future__ import annotations

import pytest

from grue.metrics.tokens.moses import detokenized


@pytest.mark.parametrize(
    ("tokenised", "text"),
    [
        ("he said , \" hello . \" ( twice )", 'he said, "hello." (twice)'),
        ("it 's the jones ' house", "it's the jones' house"),
        ("' so ' he said", "'so' he said"),
        ("$ 5 @-@ 6 &amp; 3 %", "$5-6 & 3%"),
        ("plain text, as it was.", "plain text, as it was."),
        ("&quot; a &quot; &lt; b", '"a" < b'),
        ("<null>", "<null>"),
        ("< a . >", "< a . >"),
        ("", ""),
        ("  two   blanks ", "two blanks"),
    ],
)  # fmt: skip
def test_blanks_around_marks(tokenised: str, text: str) -> None:
    assert detokenized(tokenised) == text
