"""What may be done to a generated text before it is scored."""

from __future__ import annotations

import re

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+")


def three_sentences(text: str) -> str:
    """The first three sentences, one per line."""
    return "\n".join(_END.split(text.strip())[:3])
