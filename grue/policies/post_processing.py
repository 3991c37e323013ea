"""Post-processing of generated texts before they are scored."""

from __future__ import annotations

import re

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+")


def three_sentences(text: str) -> str:
    """Return the first three sentences, one per line."""
    return "\n".join(_END.split(text.strip())[:3])
