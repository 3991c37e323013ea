"""Data that NLTK's functions read and its package does not bring."""

from __future__ import annotations

WORDNET = "corpora/wordnet"
SENTENCE_ENDS = "tokenizers/punkt_tab"


def is_there(path: str) -> bool:
    """Return whether NLTK finds something at ``path`` in its data."""
    import nltk

    try:
        nltk.data.find(path)
    except LookupError:
        return False
    return True


def why_missing(path: str) -> str | None:
    """Return what is missing at ``path`` in NLTK's data, with a fix; None if it is there."""
    if is_there(path):
        return None
    data = path.rpartition("/")[2]
    return (
        f"needs NLTK's data '{data}', which are not here; fetch them with "
        f"'python -m nltk.downloader {data}', or name the folder that holds {path} in NLTK_DATA"
    )
