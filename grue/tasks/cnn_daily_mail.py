"""CNN/Daily Mail: news articles and their highlights (See et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from common.errors import Problem, UserError
from grue.nltk_data import SENTENCE_ENDS, why_missing
from grue.tasks.prompt_template import PromptedArgs
from grue.tasks.sources.hub_rows import Hub
from grue.tasks.sources.rows import Row, load_rows
from grue.tasks.task import TASKS, Sample, Split, Task

_HUB = Hub("abisee/cnn_dailymail", {"name": "3.0.0"})


class CnnDailyMailArgs(PromptedArgs):
    """Keys of the CNN/Daily Mail task."""

    truncate_article: Annotated[int, Field(gt=0)] | None = None
    """Number of tokens of the article that are kept, joined by spaces; None keeps the article
    unchanged."""
    max_size: Annotated[int, Field(gt=0)] | None = None
    """Number of samples of a split that are kept, the first ones; None keeps all."""

    def missing(self) -> Iterator[Problem]:
        """Tokenizer that truncates articles."""
        yield from super().missing()
        if self.truncate_article is not None and (why := why_missing(SENTENCE_ENDS)):
            yield Problem(f"{why}, or leave the key out", "truncate_article",
                          self.truncate_article)  # fmt: skip


class _Article(Row):
    article: str
    highlights: str


@TASKS.register("cnn_daily_mail")
class CnnDailyMail(Task[CnnDailyMailArgs]):
    """News articles with summaries: columns ``article`` and ``highlights``."""

    Args = CnnDailyMailArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the article between prefix and suffix; the highlights are the only reference."""
        rows = load_rows(_Article, self.args.path, split, _HUB.at(self.args.revision))[
            : self.args.max_size
        ]
        return [
            Sample(
                f"{split}_{i}", self.args.prompt(self._shortened(row.article)), (row.highlights,)
            )
            for i, row in enumerate(rows)
        ]

    def _shortened(self, article: str) -> str:
        if self.args.truncate_article is None:
            return article
        return " ".join(_words(article)[: self.args.truncate_article])


def _words(text: str) -> list[str]:
    import nltk

    try:
        words: list[str] = nltk.word_tokenize(text)
    except LookupError as error:
        raise UserError(
            "'datapool.args.truncate_article' needs NLTK's model of sentence ends; fetch it with "
            "python -m nltk.downloader punkt_tab, or leave the key out"
        ) from error
    return words
