"""What is taken out of raw texts, rule by rule, on made-up texts."""

from __future__ import annotations

import pytest

from grue.tasks.queries.cleaning import clean_article, clean_post, fix_unicode
from tests.tools import imported

LATE = "x" * 100


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("one\n\n\n\n\ntwo\n\n\nthree\n\n4\n5", "one\n\ntwo\n\nthree\n\n4\n5"),
        (" \n a post \n\n", "a post"),
        ("", ""),
    ],
)
def test_posts(text: str, cleaned: str) -> None:
    assert clean_post(text) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        # the author and the line below
        ("By Ann Other\nDaily News\nRain fell.\nBy noon it", "Rain fell.\nBy noon it"),
        ("Byte by byte\nand on", ""),
        ("Standing By\nand on", "Standing By\nand on"),
        # the agency's lead-in, and its bare name near the beginning
        ("OSLO, Norway (CNN) -- Rain fell.", "Rain fell."),
        ("OSLO (CNN)  --  Rain fell.", "Rain fell."),
        (f"{LATE} (CNN) -- Rain fell.", "Rain fell."),
        ("Oslo (CNN)Rain fell.", "Rain fell."),
        ("(CNN)Rain fell. (CNN) And snow.", "And snow."),
        (f"{LATE} (CNN)Rain fell.", f"{LATE} (CNN)Rain fell."),
        (f"{LATE[:96]}(CNN)Rain fell.", f"{LATE[:96]}(CNN)Rain fell."),
        (f"{LATE[:95]}(CNN)Rain fell.", "Rain fell."),
        # a second author
        ("and Other\nRain fell.", "Rain fell."),
        ("By Ann\nWho\nand Other\nRain fell.", "Rain fell."),
        ("and rain fell\non", "and rain fell\non"),
        ("Rain\nand snow\nfell", "Rain\nand snow\nfell"),
        # the time of a change
        ("PUBLISHED: 01:02 EST, 3 May 2012 | . UPDATED: 11:45 EST, 4 May 2012 Rain in 2013.",
         "Rain in 2013."),
        ("UPDATED: 11:45 EST,\n4 May 2012. Rain.", "UPDATED: 11:45 EST,\n4 May 2012. Rain."),
        ("UPDATED:\n\n11:45 EST, 4 May 2012\n\nRain fell.", "Rain fell."),
        ("UPDATED: soon, in 2012. Rain fell.", "UPDATED: soon, in 2012. Rain fell."),
        # quotes, highlights, blank lines
        ("‘It’s raining,’ said “Ann”.", "'It's raining,' said “Ann”."),
        ("Rain fell.\n\n@highlight\n\nRain\n\n@highlight\n\nWet", "Rain fell."),
        ("  Rain fell.\n\n\n\nIt was wet. \n", "Rain fell.\n\nIt was wet."),
    ],
)  # fmt: skip
def test_articles(text: str, cleaned: str) -> None:
    assert clean_article(text) == cleaned


def test_characters_are_put_right() -> None:
    imported("ftfy")
    assert fix_unicode("Itâ€™s wet &amp; cold\r\nhere") == "It's wet & cold\nhere"
