"""Preferences between responses, from the hub or from local files of several forms."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, Strict

from common.config.base import OptionalText, Seed
from common.config.fit import PositiveInt
from common.config.hub_revision import Revision, misplaced_revision
from common.errors import Problem, UserError
from grue.models.config import ModelName
from grue.tasks.chat import ChatArgs
from grue.tasks.choices.rows import Choice, Decode, Row, choices_of_rows
from grue.tasks.prompt_template import PromptedArgs
from grue.tasks.sources.hub_rows import Hub
from grue.tasks.sources.local_files import at_path, has_split, split_file, stream_rows
from grue.tasks.sources.text_source import told
from grue.tasks.sources.tokenizers import load_tokenizer
from grue.tasks.task import TASKS, Sample, Split, Task

_IDS_OF = "gpt2"
_KEY = "datapool.args.token_ids_of"


class PreferencesArgs(ChatArgs, PromptedArgs):
    """Keys of the task of preferences."""

    hub_id: OptionalText = None
    """Data set of the hub, such as ``esfrankel17/HelpSteer2_binarized``; None uses ``path``."""
    hub_split: str = "train"
    """Split of the hub's data set, such as ``average_rating_split``."""
    hub_file: OptionalText = None
    """One file of the hub's data set, for data sets of plain files: ``sentiment/offline_5k.json``
    of ``vwxyzjn/lm-human-preferences``."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the rows of a single file or hub split that are held out as the validation and the
    test split."""
    shuffle_seed: Seed = None
    """Seed that draws the held-out rows, as ``datasets`` does; None (or -1) takes the last ones."""
    num_train: PositiveInt | None = None
    """Number of rows for training, the first ones; all others are held out. None uses
    ``held_out``."""
    rating_scale: Annotated[tuple[float, float], Strict(False)] | None = None
    """Smallest and largest rating; others are refused. None for no limits."""
    prompt_shorter_than: PositiveInt | None = None
    """Largest number of characters of a prompt, exclusive; rows with longer ones are dropped. None
    keeps all."""
    token_ids_of: ModelName = _IDS_OF
    """Tokenizer of rows whose texts are token ids; ids beyond its vocabulary are padding."""
    token_ids_revision: Revision = None
    """Branch, tag or commit of that tokenizer on the hub; None (or the empty string) for its
    default branch."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of two sources or none, and of two ways to hold rows out."""
        yield from super().problems()
        if (self.path is None) == (self.hub_id is None):
            yield Problem("give either this key or 'hub_id'", "path", self.path)
        yield from misplaced_revision(
            self.token_ids_revision, self.token_ids_of, "token_ids_of", "token_ids_revision"
        )
        if self.num_train is not None and (self.held_out or self.shuffle_seed is not None):
            yield Problem("contradicts 'held_out' or 'shuffle_seed'; give one way to hold rows "
                          "out", "num_train", self.num_train)  # fmt: skip
        if self.rating_scale is not None and self.rating_scale[0] >= self.rating_scale[1]:
            yield Problem("must be [smallest, largest]", "rating_scale", self.rating_scale)


@TASKS.register("preferences")
class Preferences(Task[PreferencesArgs]):
    """Rows with a prompt and preferred, ranked or rated responses.

    The forms of rows are those of `grue.tasks.choices.rows`.
    """

    Args = PreferencesArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return one sample per row; an id has the row's position in its source, from 0."""
        path = self.args.path
        if path is not None and has_split(path, "val"):
            own: Split = "val" if split == "test" and not has_split(path, "test") else split
            choices, _ = self._choices(split_file(path, own))
            return self._samples(choices, split)
        choices, where = self._choices(None if path is None else split_file(path, "train"))
        train, held_out = self._parts(len(choices), where)
        rows = train if split == "train" else held_out
        return self._samples([choices[row] for row in rows], split)

    def _choices(self, file: Path | None) -> tuple[list[tuple[int, Choice]], str]:
        """Return the choices of a file or the hub with their positions, and the source's name."""
        args = self.args
        where = f"'datapool.args.hub_id' = '{args.hub_id}'" if file is None else at_path(file)
        rows = told(self._hub_rows() if file is None else stream_rows(file), f"rows of {where}")
        found = choices_of_rows(rows, where, decode=self._decode, scale=args.rating_scale)
        limit = args.prompt_shorter_than or math.inf
        kept = [pair for pair in enumerate(found) if len(pair[1].prompt) < limit]
        return [(row, replace(it, prompt=args.prompt(it.prompt))) for row, it in kept], where

    def _parts(self, count: int, where: str) -> tuple[Sequence[int], Sequence[int]]:
        """Return the rows for training, and the held-out rows."""
        args = self.args
        if args.num_train is not None:
            if count < args.num_train:
                raise UserError(f"{where}: has {count} rows, and 'datapool.args.num_train' asks "
                                f"for {args.num_train}")  # fmt: skip
            return range(args.num_train), range(args.num_train, count)
        size = math.ceil(args.held_out * count)
        if args.shuffle_seed is None:
            return range(count - size), range(count - size, count)
        # The order of `datasets.Dataset.train_test_split`.
        order = np.random.default_rng(args.shuffle_seed).permutation(count).tolist()
        return order[size:], order[:size]

    def _hub_rows(self) -> Iterable[Row]:
        args = self.args
        options = {} if args.hub_file is None else {"data_files": args.hub_file}
        rows: Iterable[Row] = (
            Hub(args.hub_id or "", options).at(args.revision).load_named(args.hub_split)
        )
        return rows

    @functools.cached_property
    def _decode(self) -> Decode:
        """Decoder of token ids; the tokenizer is loaded at the first row that has them."""
        advice = ", and the rows hold token ids; name the tokenizer that made them"
        name, revision = self.args.token_ids_of, self.args.token_ids_revision
        load = functools.partial(load_tokenizer, name, _KEY, advice, revision)
        tokenizer = functools.cache(load)

        def decode(ids: Sequence[int]) -> str:
            known = [token for token in ids if token < len(tokenizer())]
            text: str = tokenizer().decode(
                known, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            return text

        return decode

    def _samples(self, choices: Sequence[tuple[int, Choice]], split: Split) -> list[Sample]:
        found = [choice.as_sample(f"{split}_{place}") for place, choice in choices]
        return self.args.in_form(found)
