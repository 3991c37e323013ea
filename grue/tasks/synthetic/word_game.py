"""Synthetic language with two writings: text to pretrain on, and two games with graded answers.

Every concept has two words in each writing. ``say`` asks to repeat three concepts in the first
writing, ``turn`` asks for them in the second one. Either word of a concept is right, and a
reference has one of them. A story uses one writing only. A model that has read stories and ``say``
answers ``turn`` in the wrong writing, so that each of its samples has the same reward, zero. Tales
are sentences that end in a full stop; the first is the prompt, the others continue it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Strict

from common.config.base import Config
from common.config.fit import PositiveInt
from grue.tasks.task import TASKS, Sample, Split, Task

Kind = Literal["story", "say", "turn", "tale"]
Writing = tuple[tuple[str, str], ...]
"""Two words of each concept."""

_CONSONANTS = ("bdgklm", "prstvz")
"""Consonants of the first and the second writing, so that they share no word."""
_VOWELS = "aeiou"
_CONCEPTS_IN_GAME = 3
_SENTENCES = 7
_SHORTEST, _LONGEST = 2, 5
"""Number of words of a sentence."""
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


class WordGameArgs(Config):
    """Keys of the word game."""

    kinds: Annotated[tuple[Kind, ...], Strict(False), Field(min_length=1)] = ("say", "turn")
    """Content of a split, in turn: stories, tales, or games with answers in the first (``say``) or
    the second writing (``turn``)."""
    num_samples: PositiveInt = 400
    """Number of samples of the training split; the others have a quarter of them."""
    num_concepts: Annotated[int, Field(ge=_CONCEPTS_IN_GAME, le=200)] = 24
    """Number of words of the language, each with two spellings in both writings."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of language and samples."""


@TASKS.register("word_game")
class WordGame(Task[WordGameArgs]):
    """Generated stories and games."""

    Args = WordGameArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the samples of a split; each split has a random stream of its own."""
        args = self.args
        writings = _language(args.num_concepts, random.Random(args.seed))
        draw = random.Random(f"{args.seed} {split} {args.kinds}")
        count = args.num_samples if split == "train" else max(args.num_samples // 4, 1)
        kinds = itertools.islice(itertools.cycle(args.kinds), count)
        return [_sample(f"{split}_{i}", kind, writings, draw) for i, kind in enumerate(kinds)]


def _language(num_concepts: int, draw: random.Random) -> tuple[Writing, Writing]:
    """Return the first and the second writing."""
    first, second = (list(_words(consonants, draw)) for consonants in _CONSONANTS)
    pairs = range(0, 2 * num_concepts, 2)
    return (
        tuple((first[i], first[i + 1]) for i in pairs),
        tuple((second[i], second[i + 1]) for i in pairs),
    )


def _words(consonants: str, draw: random.Random) -> Iterator[str]:
    """Yield all words of two syllables, in a random order."""
    syllables = [consonant + vowel for consonant in consonants for vowel in _VOWELS]
    words = [a + b for a in syllables for b in syllables]
    draw.shuffle(words)
    yield from words


def _sample(
    name: str, kind: Kind, writings: tuple[Writing, Writing], draw: random.Random
) -> Sample:
    concepts = range(len(writings[0]))
    if kind == "story":
        told = draw.choices(concepts, k=draw.randint(4, 9))
        return Sample(name, "", (_written(told, draw.choice(writings), draw),), {"kind": kind})
    if kind == "tale":
        writing = draw.choice(writings)
        first, *others = (_sentence(concepts, writing, draw) for _ in range(_SENTENCES))
        return Sample(name, first, (" " + " ".join(others),), {"kind": kind})
    asked = draw.sample(concepts, _CONCEPTS_IN_GAME)
    question = " ".join(writings[0][concept][0] for concept in asked)
    answer = _written(asked, writings[0 if kind == "say" else 1], draw)
    return Sample(name, f"{kind} {question} :", (f" {answer}",), {"kind": kind})


def _sentence(concepts: range, writing: Writing, draw: random.Random) -> str:
    told = draw.choices(concepts, k=draw.randint(_SHORTEST, _LONGEST))
    return f"{_written(told, writing, draw)} ."


def _written(concepts: list[int] | range, writing: Writing, draw: random.Random) -> str:
    return " ".join(draw.choice(writing[concept]) for concept in concepts)
