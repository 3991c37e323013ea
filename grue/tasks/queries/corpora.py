"""The corpora whose texts are queries: books, news articles, Reddit posts (arXiv 1909.08593)."""

from __future__ import annotations

from collections.abc import Iterator

from common.config.base import OptionalText
from common.config.fit import PositiveInt
from common.errors import Problem
from common.packages import lacking
from grue.tasks.queries.cleaning import clean_article, clean_post, fix_unicode
from grue.tasks.queries.task import Queries, QueryArgs
from grue.tasks.sources.hub import Hub, parquet_branch
from grue.tasks.task import TASKS


class BooksArgs(QueryArgs):
    """The keys of the task of continuing books."""

    query_length: PositiveInt = 64
    """Most tokens of a query."""
    start_text: OptionalText = "."
    """One token: a query begins behind its first occurrence; None (or the empty string) for the
    text's beginning. BookCorpus has sentences that end in ``" ."``: set this and ``end_text`` to
    that, with ``rows_per_text``, or to None."""
    end_text: OptionalText = "."
    """One token: a query ends with its last occurrence; None (or the empty string) for where it is
    cut."""
    text_column: str = "text"
    """Column with the texts."""
    hub_splits: bool = False
    """Whether the hub's data set has splits of its own for validation and test."""
    hub_streaming: bool = True
    """Whether rows are read over the network as far as they are needed, each time; otherwise the
    data set (BookCorpus: 74 million sentences) is downloaded once."""


@TASKS.register("books")
class Books(Queries[BooksArgs]):
    """Passages of books, from BookCorpus; the passages of the paper are lost."""

    Args = BooksArgs
    hub = parquet_branch("bookcorpus/bookcorpus", "plain_text")


class CleanedArgs(QueryArgs):
    """The keys of queries whose characters are put right."""

    query_length: PositiveInt = 500
    """Most tokens of a query."""
    fix_unicode: bool = True
    """Whether wrongly decoded characters, entities and odd line breaks are put right, by the
    package ftfy."""

    def missing(self) -> Iterator[Problem]:
        """The package that puts characters right, if that is asked for."""
        yield from super().missing()
        if self.fix_unicode:
            yield from lacking("ftfy", "fix_unicode", True, otherwise="or set it to false")


class ArticlesArgs(CleanedArgs):
    """The keys of the task of summing up news articles."""

    end_text: OptionalText = "\n"
    """One token: a query ends with its last occurrence; None (or the empty string) for where it is
    cut. The hub's articles have no line breaks, and so give no queries: set this to None."""
    text_column: str = "article"
    """Column with the texts."""


@TASKS.register("cnndm_queries")
class Articles(Queries[ArticlesArgs]):
    """Articles of CNN and the Daily Mail (See et al., 2017)."""

    Args = ArticlesArgs
    hub = Hub("abisee/cnn_dailymail", {"name": "3.0.0"})

    def clean(self, text: str) -> str:
        """See `clean_article`."""
        return clean_article(fix_unicode(text) if self.args.fix_unicode else text)


class PostsArgs(CleanedArgs):
    """The keys of the task of summing up Reddit posts."""

    text_column: str = "content"
    """Column with the texts."""
    hub_splits: bool = False
    """Whether the hub's data set has splits of its own for validation and test."""
    hub_streaming: bool = True
    """Whether rows are read over the network as far as they are needed, each time; otherwise the
    data set (3.8 million posts) is downloaded once."""


@TASKS.register("tldr_queries")
class Posts(Queries[PostsArgs]):
    """Reddit posts with a summary of their own (Völske et al., 2017)."""

    Args = PostsArgs
    hub = parquet_branch("webis/tldr-17", "default")

    def clean(self, text: str) -> str:
        """See `clean_post`."""
        return clean_post(fix_unicode(text) if self.args.fix_unicode else text)
