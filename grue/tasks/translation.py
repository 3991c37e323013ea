"""Translation: a sentence in one language, asked for in another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common.errors import UserError
from grue.tasks.hub import Hub
from grue.tasks.prompted import PromptedArgs
from grue.tasks.rows import Nested, Row, load_rows
from grue.tasks.task import Sample, Split


class Pair(Row):
    """A sentence in two languages."""

    translation: Nested[dict[str, str]]
    """The text by language code."""


def translation_samples(
    args: PromptedArgs, split: Split, hub: Hub, *, source: str = "en", target: str = "de"
) -> list[Sample]:
    """The source text between prefix and suffix; the target text is the one reference.

    Raises:
        UserError: the data cannot be loaded, or a row lacks one of the languages.
    """
    rows = load_rows(Pair, args.path, split, hub)
    texts = _texts(rows, (source, target))
    return [
        Sample(f"{split}_{i}", args.prompt(asked), (wanted,))
        for i, (asked, wanted) in enumerate(texts)
    ]


def _texts(rows: Sequence[Pair], languages: tuple[str, str]) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(rows, start=1):
        try:
            source, target = (row.translation[language] for language in languages)
        except KeyError:
            raise UserError(
                f"row {number}: 'translation' needs the languages {' and '.join(languages)}; "
                f"found {', '.join(row.translation) or 'none'}"
            ) from None
        yield source, target
