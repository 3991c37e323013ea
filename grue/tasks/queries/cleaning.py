"""Cleaning of raw texts before they become queries (arXiv 1909.08593, its program)."""

from __future__ import annotations

import re

_MANY_NEWLINES = re.compile(r"\n{3,}")
_LEAD_IN = re.compile(r"\(CNN\) +--")
_AGENCY = "(CNN)"
_AGENCY_WITHIN = 100
"""Number of characters at the beginning in which the agency's bare name ends a place."""
_SECOND_AUTHOR = re.compile(r"and \w+\n")
_STAMP = re.compile(r"UPDATED:\s+\d{2}:\d{2}.*?\b20\d{2}\b")
_HIGHLIGHTS = "@highlight"
_STRAIGHT_QUOTES = str.maketrans({"‘": "'", "’": "'"})


def clean_post(text: str) -> str:
    """Return a Reddit post with at most one blank line in a row and no white space around it."""
    return _MANY_NEWLINES.sub("\n\n", text).strip()


def clean_article(text: str) -> str:
    """Return the body of a news article of CNN or the Daily Mail, without its heading.

    Removed in this order are: the first two lines, if the text begins with "By"; all before the
    last "(CNN) --"; all before a "(CNN)" in the first 100 characters; a first line "and" with one
    word; all up to the year of the last "UPDATED: hh:mm"; curly single quotes become straight; all
    from the first "@highlight"; more than one blank line; white space around.
    """
    if text.startswith("By"):
        text = "".join(text.splitlines(keepends=True)[2:])
    text = _LEAD_IN.split(text)[-1]
    text = text[:_AGENCY_WITHIN].rpartition(_AGENCY)[2] + text[_AGENCY_WITHIN:]
    second_author = _SECOND_AUTHOR.match(text)
    if second_author is not None:
        text = text[second_author.end() :]
    text = _STAMP.split(text)[-1].translate(_STRAIGHT_QUOTES)
    return clean_post(text.partition(_HIGHLIGHTS)[0])


def fix_unicode(text: str) -> str:
    """Return the text with wrong characters, entities and odd line breaks fixed (by ftfy)."""
    import ftfy

    fixed: str = ftfy.fix_text(text)
    return fixed
