"""Synthetic arithmetic: sums, differences and products of graded difficulty.

A problem belongs to one split alone, whatever the seed, and so do the problems that swap its
operands: what a model has learned by heart helps with no held-out problem.
"""

from __future__ import annotations

import hashlib
import itertools
import operator
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, Strict

from common.config.base import LATER
from common.config.fit import PositiveFloat, PositiveInt
from common.errors import Problem
from grue.tasks.chat import ChatArgs
from grue.tasks.task import TASKS, Sample, Split, Task

Operation = Literal["+", "-", "*"]
Digits = Annotated[int, Field(ge=1, le=15)]
Question = tuple[int, Operation, int]
"""First operand, operation and second operand."""
Part = Annotated[float, Field(ge=0, le=1)]

_COMPUTE: Mapping[Operation, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
_PARTS = 10
_SPLITS: Mapping[int, Split] = {0: "val", 1: "test"}
"""Splits of the first tenths of all problems; the others are for training."""


class ArithmeticArgs(ChatArgs):
    """Keys of the arithmetic problems."""

    num_samples: PositiveInt = 1000
    """Number of problems of the training split; the others have a quarter of them."""
    digits: Annotated[tuple[Digits, ...], Strict(False), Field(min_length=1)] = (1, 2)
    """Levels of difficulty: number of digits of a problem's larger operand. A sample has its own as
    metadata ``difficulty``."""
    shares: Annotated[tuple[PositiveFloat, ...], Strict(False)] = ()
    """Share of each level, up to a common factor: ``[9, 1]`` makes nine easy problems for a hard
    one; empty for equal shares."""
    guessed: Annotated[tuple[Part, ...], Strict(False), LATER] = ()
    """Share of each level's problems of the training split whose reference is that of another
    problem of the level; empty for none. What a model learns of these is to guess: of problems of
    three digits it then has one in a thousand right, whatever it could do before."""
    operations: Annotated[tuple[Operation, ...], Strict(False), Field(min_length=1)] = ("+",)
    """Operations, of which each problem has one at random; differences are never negative."""
    working: bool = False
    """If true, references show the steps to the result, which stands last: one for each digit of
    the second operand that is not 0."""
    prompt_prefix: str = ""
    """Text before the problem."""
    prompt_suffix: str = "="
    """Text after the problem."""
    reference_prefix: Annotated[str, LATER] = ""
    """Text before the result and its steps in references, such as a blank, which is then part of
    outputs, and of hints."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the problems."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problems of shares of other levels."""
        yield from super().problems()
        for key, given in (("shares", self.shares), ("guessed", self.guessed)):
            if given and len(given) != len(self.digits):
                yield Problem(f"has {len(given)} entries for the {len(self.digits)} levels of "
                              "'digits'; give one for each", key, list(given))  # fmt: skip


@TASKS.register("arithmetic")
class Arithmetic(Task[ArithmeticArgs]):
    """Problems such as ``12+35=``, each with its result as the reference."""

    Args = ArithmeticArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the problems of a split; each split has a random stream of its own."""
        args = self.args
        count = args.num_samples if split == "train" else max(args.num_samples // 4, 1)
        draw = random.Random(f"{args.seed} {split}")
        others = random.Random(f"{args.seed} {split} others")
        kinds = list(_kinds(args, count, split))
        draw.shuffle(kinds)
        made = []
        for i, (digits, guessed) in enumerate(kinds):
            asked = _problem(args, split, digits, draw)
            answered = _problem(args, split, digits, others) if guessed else asked
            made.append(self._sample(f"{split}_{i}", digits, asked, answered))
        return args.in_form(made)

    def _sample(self, name: str, digits: int, asked: Question, answered: Question) -> Sample:
        args = self.args
        first, operation, second = asked
        return Sample(
            name,
            f"{args.prompt_prefix}{first}{operation}{second}{args.prompt_suffix}",
            (args.reference_prefix + _answer(*answered, working=args.working),),
            {"difficulty": digits},
        )


def _kinds(args: ArithmeticArgs, count: int, split: Split) -> Iterator[tuple[int, bool]]:
    """Yield the level of each of ``count`` problems, and whether its reference is another's.

    Numbers are as near the shares as can be.
    """
    shares = args.shares or (1.0,) * len(args.digits)
    guessed = args.guessed if args.guessed and split == "train" else (0.0,) * len(args.digits)
    ends = [round(count * end / sum(shares)) for end in itertools.accumulate(shares)]
    for digits, part, start, end in zip(args.digits, guessed, [0, *ends], ends, strict=False):
        num_guessed = round((end - start) * part)
        yield from ((digits, i < num_guessed) for i in range(end - start))


def _answer(first: int, operation: Operation, second: int, *, working: bool) -> str:
    if working:
        return ", ".join(_steps(first, operation, second))
    return str(_COMPUTE[operation](first, second))


def _problem(args: ArithmeticArgs, split: Split, digits: int, draw: random.Random) -> Question:
    """Return the operands and the operation of a problem that belongs to the split."""
    least, most = (10 ** (digits - 1) if digits > 1 else 0), 10**digits - 1
    while True:
        operation = draw.choice(args.operations)
        small, large = sorted((draw.randint(least, most), draw.randint(0, most)))
        if _split_of(small, operation, large) == split:
            swap = operation != "-" and draw.random() < 0.5
            return (small, operation, large) if swap else (large, operation, small)


def _split_of(small: int, operation: Operation, large: int) -> Split:
    digest = hashlib.sha256(f"{small}{operation}{large}".encode()).digest()
    return _SPLITS.get(int.from_bytes(digest[:4]) % _PARTS, "train")


def _steps(first: int, operation: Operation, second: int) -> Iterator[str]:
    """Yield the equations that lead to the result, by the second operand's digits."""
    digits = str(second)
    terms = [int(digit) * 10 ** (len(digits) - i) for i, digit in enumerate(digits, 1)]
    terms = [term for term in terms if term] or [0]
    if operation == "*":
        products = [first * term for term in terms]
        yield from (f"{first}*{term}={first * term}" for term in terms)
        first, operation, terms = products[0], "+", products[1:]
    for term in terms:
        result = _COMPUTE[operation](first, term)
        yield f"{first}{operation}{term}={result}"
        first = result
