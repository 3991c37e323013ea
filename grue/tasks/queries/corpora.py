"""Corpora of query tasks: books, news articles, Reddit posts (arXiv 1909.08593)."""

from __future__ import annotations

from collections.abc import Iterator

from common.config.base import OptionalText
from common.config.fit import PositiveInt
from common.errors import Problem
from common.packages import lacking
from grue.tasks.queries.cleaning import clean_article, clean_post, fix_unicode
from grue.tasks.queries.task import Queries, QueryArgs
from grue.tasks.sources.hub_rows import Hub, parquet_branch
from grue.tasks.task import TASKS


class BooksArgs(QueryArgs):
    """Keys of the task of continuing books."""

    query_length: PositiveInt = 64
    """Largest number of tokens of a query."""
    start_text: OptionalText = "."
    """One token: a query begins after its first occurrence; None (or the empty string) for the
    text's beginning. BookCorpus has sentences that end in ``" ."``: set this and ``end_text`` to
    that, with ``rows_per_text``, or to None."""
    end_text: OptionalText = "."
    """One token: a query ends with its last occurrence; None (or the empty string) for its largest
    length."""
    text_column: str = "text"
    """Column of the texts."""
    hub_splits: bool = False
    """If true, the hub's data set has validation and test splits of its own."""
    hub_streaming: bool = True
    """If true, rows are read over the network as far as they are needed, each time; otherwise the
    data set (BookCorpus: 74 million sentences) is downloaded once."""


@TASKS.register("books")
class Books(Queries[BooksArgs]):
    """Passages of books, from BookCorpus, because the passages of the paper are lost."""

    Args = BooksArgs
    hub = parquet_branch("bookcorpus/bookcorpus", "plain_text")


class CleanedArgs(QueryArgs):
    """Keys of queries whose characters are fixed."""

    query_length: PositiveInt = 500
    """Largest number of tokens of a query."""
    fix_unicode: bool = True
    """If true, the package ftfy fixes wrongly decoded characters, entities and odd line breaks."""

    def missing(self) -> Iterator[Problem]:
        """Yield the package ftfy, if characters are to be fixed."""
        yield from super().missing()
        if self.fix_unicode:
            yield from lacking("ftfy", "fix_unicode", True, otherwise="or set it to false")


class ArticlesArgs(CleanedArgs):
    """Keys of the task of summarizing news articles."""

    end_text: OptionalText = "\n"
    """One token: a query ends with its last occurrence; None (or the empty string) for its largest
    length. The hub's articles have no line breaks and would give no queries: set this to None."""
    text_column: str = "article"
    """Column of the texts."""


@TASKS.register("cnndm_queries")
class Articles(Queries[ArticlesArgs]):
    """Articles of CNN and the Daily Mail (See et al., 2017)."""

    Args = ArticlesArgs
    hub = Hub("abisee/cnn_dailymail", {"name": "3.0.0"})

    def clean(self, text: str) -> str:
        """Return the article's body, see `clean_article`."""
        return clean_article(fix_unicode(text) if self.args.fix_unicode else text)


class PostsArgs(CleanedArgs):
    """Keys of the task of summarizing Reddit posts."""

    text_column: str = "content"
    """Column of the texts."""
    hub_splits: bool = False
    """If true, the hub's data set has validation and test splits of its own."""
    hub_streaming: bool = True
    """If true, rows are read over the network as far as they are needed, each time; otherwise the
    data set (3.8 million posts) is downloaded once."""


@TASKS.register("tldr_queries")
class Posts(Queries[PostsArgs]):
    """Reddit posts with a summary of their own (Völske et al., 2017)."""

    Args = PostsArgs
    hub = parquet_branch("webis/tldr-17", "default")

    def clean(self, text: str) -> str:
        """Return the cleaned post, see `clean_post`."""
        return clean_post(fix_unicode(text) if self.args.fix_unicode else text)
