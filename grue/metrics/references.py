"""Which references a text is compared with."""

from __future__ import annotations

from collections.abc import Sequence


def as_one_text(references: Sequence[str]) -> list[str]:
    """The one reference ``"['first', 'second']"``, brackets, quotes and all.

    Published results with METEOR and with ROUGE over several references were computed so: the
    library's list of texts met a field declared as one text.
    """
    return [str(list(references))]
