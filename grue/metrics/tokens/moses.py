"""Detokenizer of English text, by the rules of Moses.

Koehn et al.: Moses: Open Source Toolkit for Statistical Machine Translation, ACL 2007. The rules
for Chinese, Japanese and Korean words are left out.
"""

from __future__ import annotations

import re
import unicodedata

_ESCAPED = {
    "&bar;": "|", "&#124;": "|", "&lt;": "<", "&gt;": ">", "&bra;": "[", "&ket;": "]",
    "&quot;": '"', "&apos;": "'", "&#91;": "[", "&#93;": "]", "&amp;": "&",
}  # fmt: skip
_TAG = re.compile(r"<.+>")
_CLOSING = re.compile(r"[,.?!:;\\%}\])]+")
_CONTRACTION = re.compile(r"'[^\W\d_]")
_QUOTES = re.compile("['\"„“`]+")


def detokenized(text: str) -> str:
    """Return the text as one line, without the blanks that a tokenizer puts around marks."""
    if _TAG.fullmatch(text) or not text.strip():
        return text
    text = f" {text} ".replace(" @-@ ", "-")
    for escaped, mark in _ESCAPED.items():
        text = text.replace(escaped, mark)

    joined, blank, before = "", " ", ""
    open_quotes: set[str] = set()
    for word in text.split():
        blank_after = " "
        if all(map(_opens, word)):
            joined, blank_after = joined + blank + word, ""
        elif _CLOSING.fullmatch(word) or _is_contraction(before, word):
            joined += word
        elif _QUOTES.fullmatch(word):
            quote = '"' if set(word) <= set("„“”") else word
            if quote in open_quotes:
                joined += word
                open_quotes.remove(quote)
            elif word == "'" and before.endswith("s"):  # the Jones' house
                joined += word
            else:
                joined, blank_after = joined + blank + word, ""
                open_quotes.add(quote)
        else:
            joined += blank + word
        blank, before = blank_after, word
    return joined.strip()


def _opens(character: str) -> bool:
    """Return whether a token joins the next one: an opening bracket or a currency sign."""
    return character in "([{¿¡" or unicodedata.category(character) == "Sc"


def _is_contraction(before: str, word: str) -> bool:
    return bool(before) and before[-1].isalnum() and bool(_CONTRACTION.match(word))
