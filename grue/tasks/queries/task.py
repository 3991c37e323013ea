"""Base class of query tasks: beginnings of texts to continue or summarize (arXiv 1909.08593)."""

from __future__ import annotations

import functools
import itertools
import logging
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from common.config.base import OptionalText, Seed
from common.config.fit import NonNegativeInt, PositiveInt
from common.config.hub_revision import Revision, misplaced_revision
from common.errors import Problem, UserError
from grue.models.config import ModelName
from grue.tasks.prompt_template import PromptedArgs
from grue.tasks.queries.tokens import cut_query
from grue.tasks.sources.hub_rows import Hub
from grue.tasks.sources.text_source import RawText, TextSource, told
from grue.tasks.sources.tokenizers import load_tokenizer
from grue.tasks.task import Sample, Split, Task

log = logging.getLogger(__name__)

_BATCH = 1000
"""Number of texts that are tokenized together."""
_PATIENCE = 100_000
"""Number of texts that are read before the share of usable ones is checked."""
_LEAST_SHARE = 1e-3
_UNMARKED = "lack the start or the end"


class QueryArgs(PromptedArgs):
    """Keys of all query tasks.

    Text around a query that rewards must not see, such as a question for a summary, belongs to the
    policy (``alg.policy.args.query_prefix``, ``query_suffix``); ``prompt_prefix`` and
    ``prompt_suffix`` are part of the prompt. The path may also lead to plain text files with one
    text per line.
    """

    tokenizer: ModelName = "gpt2"
    """Tokenizer that counts and truncates tokens: the policy's. A policy with it reads these very
    tokens."""
    tokenizer_revision: Revision = None
    """Branch, tag or commit of the tokenizer on the hub; None (or the empty string) for its default
    branch."""
    query_length: PositiveInt
    """Largest number of tokens of a query."""
    start_text: OptionalText = None
    """One token, such as ``"."``: a query begins after its first occurrence; None (or the empty
    string) for the text's beginning."""
    end_text: OptionalText = None
    """One token: a query ends with its last occurrence; None (or the empty string) for its largest
    length."""
    unmarked: Literal["drop", "keep"] = "drop"
    """Treatment of texts without ``start_text`` or ``end_text``: they are dropped, or that end is
    kept as it is."""
    text_column: str
    """Column of the texts."""
    reference_column: OptionalText = None
    """Column of a reference, such as ``highlights``, for metrics; None for none."""
    rows_per_text: PositiveInt = 1
    """Number of rows that are joined by spaces to one text, for rows that are single sentences."""
    num_queries: PositiveInt | None = 100_000
    """Largest number of training queries, the first of the source; no more is read. None for
    all."""
    num_held_out: NonNegativeInt = 500
    """Largest number of queries of the validation split, and of the test split. If the source has
    only a training split, they are its first queries, and training uses later ones."""
    shuffle_seed: Seed = 0
    """Seed that shuffles a split's queries; None (or -1) keeps the order of the source."""
    hub_id: OptionalText = None
    """Id of another data set of the hub."""
    hub_splits: bool = True
    """If true, the hub's data set has validation and test splits of its own."""
    hub_streaming: bool = False
    """If true, rows are read over the network as far as they are needed, each time; otherwise the
    data set is downloaded once."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a revision of a local tokenizer."""
        yield from super().problems()
        yield from misplaced_revision(
            self.tokenizer_revision, self.tokenizer, "tokenizer", "tokenizer_revision"
        )


ArgsT = TypeVar("ArgsT", bound=QueryArgs)


class Queries(Task[ArgsT], Generic[ArgsT]):
    """Queries as prompts: the tokens of each text that `cut_query` keeps, with text around them.

    Samples carry their tokens, because tokenizing a query's text again may give others: at its
    borders, or if it was cut within a character of several bytes.
    """

    hub: ClassVar[Hub]
    """Source of the texts without ``path``."""

    def __init__(self, args: ArgsT) -> None:
        super().__init__(args)
        self._left_out: Counter[str] = Counter()

    def clean(self, text: str) -> str:
        """Return the text before it is tokenized, cleaned if the task does that."""
        return text

    def samples(self, split: Split) -> list[Sample]:
        """Return the queries of a split; an id has the text's position in its source, from 0."""
        args, source = self.args, self._source
        apart = source.has_splits()
        skipped = 0 if apart else {"train": 2, "val": 0, "test": 1}[split] * args.num_held_out
        limit = args.num_queries if split == "train" else args.num_held_out
        end = None if limit is None else skipped + limit
        read = split if apart else "train"
        found = list(itertools.islice(self._queries(read, split), skipped, end))
        if not found and limit != 0:
            raise UserError(f"{source.name(read)}: gives no queries for the split '{split}': "
                            f"{self._said()}{self._advice(skipped)}")  # fmt: skip
        log.info("%s: %d queries; %s", source.name(read), len(found), self._said())
        if args.shuffle_seed is None:
            return found
        return [found[i] for i in np.random.default_rng(args.shuffle_seed).permutation(len(found))]

    @functools.cached_property
    def _source(self) -> TextSource:
        args = self.args
        hub = (self.hub if args.hub_id is None else Hub(args.hub_id)).at(args.revision)
        if args.hub_streaming:
            hub = Hub(hub.id, {**hub.options, "streaming": True})
        return TextSource(
            args.path,
            hub,
            hub_splits=args.hub_splits,
            column=args.text_column,
            reference_column=args.reference_column,
            rows_per_text=args.rows_per_text,
        )

    def _queries(self, read_split: Split, split: Split) -> Iterator[Sample]:
        """Yield all queries of the source's split ``read_split``, as samples of ``split``."""
        tokens = _Tokens(self.args)
        name = self._source.name(read_split)
        texts = told(self._source.texts(read_split), f"texts of {name}")
        self._left_out, kept = Counter(), 0
        while batch := list(itertools.islice(texts, _BATCH)):
            cleaned = [self.clean(raw.text) for raw in batch]
            for raw, ids in zip(batch, tokens.encode(cleaned), strict=True):
                query = tokens.cut(ids)
                if query is None:
                    self._left_out[_UNMARKED if ids else "are empty"] += 1
                    self._check_share(read_split, kept)
                else:
                    kept += 1
                    yield tokens.sample(query, f"{split}_{raw.place}", raw)

    def _check_share(self, split: Split, kept: int) -> None:
        """Raise `UserError` if so few texts are queries that reading more is useless."""
        read = kept + self._left_out.total()
        if read >= _PATIENCE and kept < _LEAST_SHARE * read:
            raise UserError(f"{self._source.name(split)}: of its first {read} texts {kept} give "
                            f"queries: {self._said()}{self._advice(0)}")  # fmt: skip

    def _said(self) -> str:
        """Log the number of dropped texts and the reasons."""
        parts = [f"{count} {reason}" for reason, count in self._left_out.items()]
        return "of its texts " + " and ".join(parts) if parts else "none of its texts is left out"

    def _advice(self, skipped: int) -> str:
        args, advice = self.args, [""]
        if self._left_out[_UNMARKED]:
            advice.append(
                f"set 'start_text' = {args.start_text!r} and 'end_text' = {args.end_text!r} to "
                "what the texts have, or to null, or 'unmarked' to 'keep'"
            )
        if skipped:
            advice.append(f"the first {skipped} are held out, lower 'num_held_out'")
        return "; ".join(advice)


class _Tokens:
    """Tokenization of texts, and samples of tokens."""

    def __init__(self, args: QueryArgs) -> None:
        key = "datapool.args.tokenizer"
        self.tokenizer = load_tokenizer(
            args.tokenizer, key, "; name the policy's tokenizer", args.tokenizer_revision
        )
        self.args = args
        self._start = self._mark("start_text", args.start_text)
        self._end = self._mark("end_text", args.end_text)
        self._prefix, self._suffix = self.encode([args.prompt_prefix, args.prompt_suffix])
        self._carried = not self.tokenizer("")["input_ids"]
        """True if the tokenizer adds special tokens around a text, so that it must read the whole
        text."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of the texts; names of special tokens in them are ordinary text."""
        if not texts:
            return []
        options: Any = {"add_special_tokens": False, "split_special_tokens": True}
        ids: list[list[int]] = self.tokenizer(list(texts), verbose=False, **options)["input_ids"]
        return ids

    def cut(self, ids: Sequence[int]) -> list[int] | None:
        """Return the tokens of a query, see `cut_query`."""
        return cut_query(
            ids,
            self.args.query_length,
            start=self._start,
            end=self._end,
            keep_unmarked=self.args.unmarked == "keep",
        )

    def sample(self, query: Sequence[int], name: str, raw: RawText) -> Sample:
        """Return the query with the text around it."""
        ids = [*self._prefix, *query, *self._suffix]
        prompt = self.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        references = () if raw.reference is None else (raw.reference,)
        token_ids = array("i", ids) if self._carried else None
        return Sample(name, prompt, references, token_ids=token_ids)

    def _mark(self, key: str, text: str | None) -> int | None:
        if text is None:
            return None
        (ids,) = self.encode([text])
        if len(ids) != 1:
            raise UserError(f"'datapool.args.{key}' = {text!r}: is {len(ids)} tokens of "
                            f"'{self.args.tokenizer}'; give a text that is one")  # fmt: skip
        return ids[0]
